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
