{{- define "leaderd.labels" -}}
app.kubernetes.io/name: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "leaderd.selector" -}}
matchLabels:
  app.kubernetes.io/name: {{ .Release.Name }}
{{- end -}}
