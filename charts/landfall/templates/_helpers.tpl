{{- /*
The templates of both components take a part: (dict "root" $ "component" "dns" "values" .Values.dns).
*/ -}}

{{- define "landfall.name" -}}
{{ .root.Release.Name }}-{{ .component }}
{{- end }}

{{- define "landfall.selector" -}}
app.kubernetes.io/name: landfall
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "landfall.labels" -}}
{{ include "landfall.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Name, namespace and labels of an object of a part. */ -}}
{{- define "landfall.metadata" -}}
name: {{ include "landfall.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "landfall.labels" . | nindent 2 }}
{{- end }}

{{- /* Name and labels of a cluster-wide object of a part. */ -}}
{{- define "landfall.clusterMetadata" -}}
name: {{ include "landfall.name" . }}
labels: {{- include "landfall.labels" . | nindent 2 }}
{{- end }}

{{- define "landfall.podMetadata" -}}
labels: {{- include "landfall.labels" . | nindent 2 }}
{{- $annotations := .values.podAnnotations | default dict }}
{{- if .root.Values.scrapeAnnotations }}
{{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/path" "/metrics" "prometheus.io/port" (toString .adminPort) }}
{{- $annotations = merge (dict) $annotations $scrape }}
{{- end }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Spreads replicas over nodes and zones if possible. On a single node all replicas still run. */ -}}
{{- define "landfall.scheduling" -}}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "landfall.selector" $ | nindent 6 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{- define "landfall.image" -}}
image: {{ printf "%s:%s" .root.Values.image.repository (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{- /* Arguments that both components take. The other common settings are in landfall.env. */ -}}
{{- define "landfall.commonArgs" -}}
- --submariner-namespace={{ .root.Values.submarinerNamespace }}
{{- with .root.Values.clusterID }}
- --cluster-id={{ . }}
{{- end }}
- --admin={{ .root.Values.bindAddress }}:{{ .adminPort }}
{{- end }}

{{- define "landfall.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Ready means that all caches are filled and, for DNS, that the sockets are open. */ -}}
{{- define "landfall.probes" -}}
livenessProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /ready, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{- /* Node drains evict one replica at a time. Replicas that are not ready can be evicted at any time. */ -}}
{{- define "landfall.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "landfall.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "landfall.selector" . | nindent 6 }}
{{- end }}

{{- define "landfall.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "landfall.metadata" . | nindent 2 }}
{{- end }}

{{- define "landfall.clusterRoleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{- include "landfall.clusterMetadata" . | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ include "landfall.name" . }}}
subjects:
- {kind: ServiceAccount, name: {{ include "landfall.name" . }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}
