{{- define "broker.labels" -}}
app.kubernetes.io/name: landfall-broker
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Metadata of an object in the release namespace. Takes (dict "root" $ "name" NAME). */ -}}
{{- define "broker.metadata" -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "broker.labels" .root | nindent 2 }}
{{- end }}

{{- /* Name of the admission policy. It has no namespace, so two brokers may have equal release names. */ -}}
{{- define "broker.policy" -}}
{{ .Release.Name }}.{{ .Release.Namespace }}
{{- end }}
