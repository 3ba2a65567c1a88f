{{- define "tradewind.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tradewind.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tradewind.labels" -}}
{{ include "tradewind.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tradewind.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "tradewind.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* Name of what no namespace holds: releases of other namespaces may have the same name. */}}
{{- define "tradewind.reviews" -}}
{{- printf "%s-%s-reviews" .Release.Namespace (include "tradewind.fullname" .) }}
{{- end }}

{{- define "tradewind.image" -}}
{{- $image := .Values.image }}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* The settings file. YAML 1.1, which Helm reads, takes an unquoted `off` for false. */}}
{{- define "tradewind.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- range $word := list "sidecars" "propagate" }}
{{- if eq (toString (get $settings $word)) "false" }}
{{- $_ := set $settings $word "off" }}
{{- end }}
{{- end }}
{{- if and .Values.rbac.create (not .Values.rbac.addressConfigMap) (not (hasKey $settings "seAddressConfigmap")) }}
{{- $_ := set $settings "seAddressConfigmap" "" }}
{{- end }}
{{- $hosts := $settings.allowedHosts | default list }}
{{- if not (has "*" $hosts) }}
{{- $name := include "tradewind.fullname" . }}
{{- $service := printf "%s.%s" $name .Release.Namespace }}
{{- $hosts = concat $hosts (list $name $service (printf "%s.svc" $service) (printf "%s.svc.%s" $service ($settings.clusterDomain | default "cluster.local"))) }}
{{- $_ := set $settings "allowedHosts" (uniq $hosts) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- /* Settings that the objects of this chart depend on, with Tradewind's own defaults. */}}
{{- define "tradewind.secretNamespace" -}}
{{- .Values.settings.secretNamespace | default "admiral" }}
{{- end }}

{{- define "tradewind.dependencyNamespace" -}}
{{- .Values.settings.dependencyNamespace | default "admiral" }}
{{- end }}

{{- define "tradewind.syncNamespace" -}}
{{- .Values.settings.syncNamespace | default "admiral-sync" }}
{{- end }}

{{- define "tradewind.addressConfigMap" -}}
{{- .Values.settings.seAddressConfigmap | default "se-address-configmap" }}
{{- end }}

{{- define "tradewind.httpPort" -}}
{{- .Values.settings.listenAddress | default "0.0.0.0:8080" | splitList ":" | last }}
{{- end }}

{{- define "tradewind.metricsPort" -}}
{{- .Values.settings.metricsAddress | default "0.0.0.0:6900" | splitList ":" | last }}
{{- end }}

{{- /* By default the first of three that the others do not have, as in src/config/addresses.rs. */}}
{{- define "tradewind.healthPort" -}}
{{- if .Values.settings.healthAddress }}
{{- .Values.settings.healthAddress | splitList ":" | last }}
{{- else }}
{{- without (list "8081" "8082" "8083") (include "tradewind.httpPort" .) (include "tradewind.metricsPort" .) | first }}
{{- end }}
{{- end }}

{{- /* Zero is a value here, which `default` would take for none. */}}
{{- define "tradewind.gracefulStopSeconds" -}}
{{- if hasKey .Values.settings "gracefulStopSeconds" }}{{ int .Values.settings.gracefulStopSeconds }}{{ else }}20{{ end }}
{{- end }}
