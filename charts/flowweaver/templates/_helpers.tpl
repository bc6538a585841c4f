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

{{- /* The kinds that carry tasks, and so may carry code: where in the object that spec is which has `tasks`. */}}
{{- define "flowweaver.codeKinds" -}}
- {resource: workflows, spec: spec}
{{- end }}

{{- /* A name of policies has dots and no colons. */}}
{{- define "flowweaver.codePolicyName" -}}
{{- printf "%s.%s.code.flowweaver.io" .Release.Namespace (include "flowweaver.fullname" .) }}
{{- end }}

{{- /* Of the pods of hooks: no selector of the operator's may find them. */}}
{{- define "flowweaver.hookSelectorLabels" -}}
app.kubernetes.io/name: {{ include "flowweaver.name" . }}-hook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flowweaver.hookLabels" -}}
{{ include "flowweaver.hookSelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: flowweaver
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* What every pod of this chart has: the restricted profile, and where it may run. */}}
{{- define "flowweaver.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "flowweaver.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The pod's identity for the API server, where clients look for it, instead of the token that lasts a year. */}}
{{- define "flowweaver.apiAccessMount" -}}
{name: api-access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{- define "flowweaver.apiAccess" -}}
name: api-access
projected:
  defaultMode: 0440
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- /* The pod of a hook that runs one command of the image: (dict "root" $ "account" NAME "args" LIST). */}}
{{- define "flowweaver.hookPod" -}}
serviceAccountName: {{ .account }}
restartPolicy: Never
{{ include "flowweaver.pod" .root }}
containers:
  - name: hook
    image: {{ include "flowweaver.image" .root | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    resources:
      requests: {cpu: 50m, memory: 96Mi}
      limits: {cpu: "1", memory: 256Mi}
    securityContext:
      {{- include "flowweaver.containerSecurity" .root | nindent 6 }}
    volumeMounts:
      - {{ include "flowweaver.apiAccessMount" .root }}
volumes:
  - {{- include "flowweaver.apiAccess" .root | nindent 4 }}
{{- end }}

{{- /* A role and its binding for a hook in each watched namespace, or everywhere:
(dict "root" $ "event" pre-delete "name" NAME "rules" RULES "namespaces" LIST) */}}
{{- define "flowweaver.hookRights" -}}
{{- $root := .root }}
{{- $hook := . }}
{{- $subject := dict "kind" "ServiceAccount" "name" .name "namespace" $root.Release.Namespace }}
{{- $clusterName := printf "%s:%s" $root.Release.Namespace .name }}
{{- range $namespace := .namespaces | default (list "") }}
{{- $scope := ternary "Role" "ClusterRole" (ne $namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $scope }}
metadata:
  name: {{ $clusterName }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "flowweaver.hookLabels" $root | nindent 4 }}
  annotations:
    {{- include "flowweaver.hookAnnotations" $hook.event | nindent 4 }}
rules:
  {{- $hook.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $scope }}Binding
metadata:
  name: {{ $clusterName }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "flowweaver.hookLabels" $root | nindent 4 }}
  annotations:
    {{- include "flowweaver.hookAnnotations" $hook.event | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ $scope }}, name: {{ $clusterName | quote }}}
subjects: [{{ toJson $subject }}]
{{- end }}
{{- end }}

{{- /* Of what a hook needs beside its pod: there before it, gone after it. */}}
{{- define "flowweaver.hookAnnotations" -}}
helm.sh/hook: {{ . }}
helm.sh/hook-weight: "-5"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{- define "flowweaver.hookAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flowweaver.hookLabels" .root | nindent 4 }}
  annotations:
    {{- include "flowweaver.hookAnnotations" .event | nindent 4 }}
automountServiceAccountToken: false
{{- end }}

{{- /* What any of our pods must reach. */}}
{{- define "flowweaver.egressToApi" -}}
# Names. The cache of a node has a link-local address in many clusters, so where nothing is said it may be anywhere.
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
# The API server: seen by the policy at the addresses of its endpoints, not of its Service.
- ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- else }}
    - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["fe80::/10"]}
    {{- end }}
{{- end }}
