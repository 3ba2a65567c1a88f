{{- define "tradewind-member.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 57 | trimSuffix "-" }}
{{- end }}

{{- define "tradewind-member.token" -}}
{{ include "tradewind-member.fullname" . }}-token
{{- end }}

{{- define "tradewind-member.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tradewind-member.accountNamespace" -}}
{{- if .Values.serviceAccount.create }}{{ .Release.Namespace }}{{ else }}{{ .Values.serviceAccount.namespace | default .Release.Namespace }}{{ end }}
{{- end }}

{{- define "tradewind-member.subjects" -}}
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name }}
  namespace: {{ include "tradewind-member.accountNamespace" . }}
{{- end }}

{{- /* YAML 1.1, which Helm reads, takes an unquoted `off` for false. */}}
{{- define "tradewind-member.sidecars" -}}
{{- if eq (toString .Values.sidecars) "false" }}off{{ else }}{{ .Values.sidecars }}{{ end }}
{{- end }}

{{- /* Refuses namespaces that are missing: a Role in one would end the installation half-way. Without a cluster to ask (helm
template, --dry-run=client) `lookup` finds nothing at all, not even the namespace that every cluster has. */}}
{{- define "tradewind-member.validateNamespaces" -}}
{{- if and .Values.checkNamespaces (lookup "v1" "Namespace" "" "default") }}
{{- $named := dict }}
{{- range .Values.adoptNamespaces }}
{{- $_ := set $named . "adoptNamespaces" }}
{{- end }}
{{- if or .Values.routingPolicies .Values.vsRouting }}
{{- $_ := set $named .Values.istioNamespace "istioNamespace" }}
{{- end }}
{{- if .Values.token.create }}
{{- $_ := set $named (include "tradewind-member.accountNamespace" .) "serviceAccount.namespace" }}
{{- end }}
{{- if not .Values.createSyncNamespace }}
{{- $_ := set $named .Values.syncNamespace "syncNamespace" }}
{{- end }}
{{- $missing := list }}
{{- range $namespace, $value := omit $named .Release.Namespace }}
{{- if not (lookup "v1" "Namespace" "" $namespace) }}
{{- $missing = append $missing (printf "%s (%s)" $namespace $value) }}
{{- end }}
{{- end }}
{{- if $missing }}
{{- fail (printf "\n\nthese namespaces do not exist: %s\nMake them (kubectl create namespace NAME), or install this chart into the first with --namespace=NAME --create-namespace\n" (join ", " $missing)) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The rule that lets the given kinds be read: (list GROUP KINDS WANTED), where KINDS maps each kind to its resource. */}}
{{- define "tradewind-member.read" -}}
{{- $resources := list }}
{{- range $kind, $resource := index . 1 }}
{{- if has $kind (index $ 2) }}{{ $resources = append $resources $resource }}{{ end }}
{{- end }}
{{- if $resources }}
- apiGroups: [{{ index . 0 }}]
  resources: {{ toJson $resources }}
  verbs: [list, watch]
{{- end }}
{{- end }}

{{- /* What Tradewind does with its own objects: it reads one before it takes it over, writes by patches alone, and
removes one by one. */}}
{{- define "tradewind-member.write" -}}
- apiGroups: [networking.istio.io]
  resources: [serviceentries, destinationrules, virtualservices]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
