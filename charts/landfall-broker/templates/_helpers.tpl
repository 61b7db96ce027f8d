{{- define "broker.labels" -}}
app.kubernetes.io/name: landfall-broker
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* of an object of this namespace: (dict "root" $ "name" NAME) */ -}}
{{- define "broker.metadata" -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "broker.labels" .root | nindent 2 }}
{{- end }}

{{- /* The policy has no namespace: two brokers of one API server may have the same release name. */ -}}
{{- define "broker.policy" -}}
{{ .Release.Name }}.{{ .Release.Namespace }}
{{- end }}
