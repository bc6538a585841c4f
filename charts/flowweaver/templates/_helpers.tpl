{{- define "flowweaver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* At most 52 characters: the StatefulSet adds a revision's hash to its pods' labels. */}}
{{- define "flowweaver.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "flowweaver.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "flowweaver.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Of what is not in a namespace: two releases of one name in two namespaces do not share it. */}}
{{- define "flowweaver.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "flowweaver.fullname" .) }}
{{- end }}

{{- define "flowweaver.selectorLabels" -}}
app.kubernetes.io/name: {{ include "flowweaver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flowweaver.labels" -}}
{{ include "flowweaver.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: flowweaver
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "flowweaver.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "flowweaver.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "flowweaver.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- /* All that the operator may do outside its own namespace; `delete` is for ttlSecondsAfterFinished. */}}
{{- define "flowweaver.workflowRules" -}}
- apiGroups: [flowweaver.io]
  resources: [workflows]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [flowweaver.io]
  resources: [workflows/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
