{{/* The name of everything in the release, cut to what a DNS label takes, less what a StatefulSet adds to it. */}}
{{- define "fitment.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fitment.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fitment.labels" -}}
{{ include "fitment.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "fitment.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fitment.account" -}}
{{ .Values.serviceAccount.name | default (include "fitment.name" .) }}
{{- end -}}

{{/* Not empty where callers are asked who they are. */}}
{{- define "fitment.access" -}}
{{ .Values.access.secret }}{{ .Values.access.configMap }}
{{- end -}}

{{/* The source of a volume: a Secret or a ConfigMap. */}}
{{- define "fitment.files" -}}
{{- if .secret -}}
secret: {secretName: {{ .secret | quote }}, defaultMode: 0440}
{{- else -}}
configMap: {name: {{ .configMap | quote }}, defaultMode: 0440}
{{- end -}}
{{- end -}}

{{/* Refuses values under which the pod would not start, would not be found alive, or would be open without anybody having said so. */}}
{{- define "fitment.check" -}}
{{- with .Values.tls -}}
{{- if and (ne .clientAuth "off") (not .secret) -}}
{{- fail (printf "tls.clientAuth is %s and there is no TLS: set tls.secret" .clientAuth) -}}
{{- end -}}
{{- if and (ne .clientAuth "off") (not (or .clientCa.secret .clientCa.configMap)) -}}
{{- fail (printf "tls.clientAuth is %s and there is nothing to verify clients against: set tls.clientCa.secret or tls.clientCa.configMap" .clientAuth) -}}
{{- end -}}
{{- if and (eq .clientAuth "off") (or .clientCa.secret .clientCa.configMap) -}}
{{- fail "tls.clientCa is set and tls.clientAuth is off: set that to optional or required, or leave the CA out" -}}
{{- end -}}
{{- if and .clientCa.secret .clientCa.configMap -}}
{{- fail "tls.clientCa names a Secret and a ConfigMap: leave one of them out" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.access.secret .Values.access.configMap -}}
{{- fail "access names a Secret and a ConfigMap: leave one of them out" -}}
{{- end -}}
{{- if and .Values.tls.secret (not .Values.metrics.enabled) -}}
{{- fail "with tls.secret the probes need metrics.enabled: the kubelet's gRPC probes speak no TLS" -}}
{{- end -}}
{{- if not (or .Values.tls.secret .Values.insecurePlaintextOnNetwork) -}}
{{- fail "the pod speaks without TLS: set tls.secret, or set insecurePlaintextOnNetwork to 'anyone on the network can read and change what is sent' to accept that" -}}
{{- end -}}
{{- if not (or (include "fitment.access" .) (eq .Values.tls.clientAuth "required") .Values.insecureAnonymousOnNetwork) -}}
{{- fail "callers are not authenticated: set access.secret or access.configMap, or tls.clientAuth to required, or set insecureAnonymousOnNetwork to 'anyone who reaches this address can do everything' to accept that" -}}
{{- end -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add .Values.drainSeconds 10 | int) -}}
{{- fail (printf "terminationGracePeriodSeconds must be %d at least: drainSeconds, and ten seconds to close the store" (add .Values.drainSeconds 10 | int)) -}}
{{- end -}}
{{- end -}}
