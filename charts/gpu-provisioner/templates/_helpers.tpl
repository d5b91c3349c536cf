{{- define "gpu-provisioner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gpu-provisioner.fullname" -}}
{{- $name := include "gpu-provisioner.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gpu-provisioner.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gpu-provisioner.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "gpu-provisioner.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gpu-provisioner.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gpu-provisioner.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "gpu-provisioner.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gpu-provisioner.controller.image" -}}
{{- with .Values.controller.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Of this release alone: with the lease of another one in the namespace it would wait for ever. The role must have the
     name that the program asks for, which controller.env may say. */ -}}
{{- define "gpu-provisioner.lease" -}}
{{- $name := printf "%s-leader-election" (include "gpu-provisioner.fullname" .) -}}
{{- range .Values.controller.env -}}
{{- if and (eq .name "LEADER_ELECTION_NAME") .value -}}
{{- $name = .value -}}
{{- end -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- /* The program's environment. An entry of controller.env replaces ours: two of one name are ambiguous. */ -}}
{{- define "gpu-provisioner.env" -}}
{{- $own := list
  (dict "name" "CLOUD_PROVIDER" "value" .Values.cloudProviderName)
  (dict "name" "METRICS_PORT" "value" (toString .Values.controller.metrics.port))
  (dict "name" "HEALTH_PROBE_PORT" "value" (toString .Values.controller.healthProbe.port))
  (dict "name" "DEBUG_PORT" "value" (toString (ternary 0 .Values.debug.port .Values.hostNetwork)))
  (dict "name" "LEADER_ELECT" "value" (toString .Values.controller.leaderElect))
  (dict "name" "LEADER_ELECTION_NAME" "value" (include "gpu-provisioner.lease" .))
  (dict "name" "LOG_LEVEL" "value" (default .Values.logLevel .Values.controller.logLevel))
  (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
  (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))
-}}
{{- if eq .Values.cloudProviderName "local" -}}
{{- $own = concat $own (list
  (dict "name" "LOCAL_MACHINES_URL" "value" .Values.localMachines.url)
  (dict "name" "LOCAL_MACHINES_TOKEN_FILE" "value" "/var/run/secrets/local-machines/token")
) -}}
{{- end -}}
{{- /* settings.aws.clusterName is AWS_CLUSTER_NAME, and so on; empty ones are left to the program. */ -}}
{{- $cloud := .Values.cloudProviderName -}}
{{- range $key, $value := (get .Values.settings $cloud | default dict) -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) -}}
{{- $text := toString $value -}}
{{- if kindIs "slice" $value -}}
{{- $text = join "," $value -}}
{{- else if kindIs "map" $value -}}
{{- $pairs := list -}}
{{- range $name, $each := $value -}}
{{- $pairs = append $pairs (printf "%s=%v" $name $each) -}}
{{- end -}}
{{- $text = join "," $pairs -}}
{{- end -}}
{{- $own = append $own (dict "name" (printf "%s_%s" (upper $cloud) (snakecase $key | upper)) "value" $text) -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := .Values.timeouts -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $own = append $own (dict "name" (printf "%s_TIMEOUT" (upper $key)) "value" (toString $value)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.nodeClasses -}}
{{- $own = append $own (dict "name" "NODE_CLASSES" "value" (join "," .Values.nodeClasses)) -}}
{{- end -}}
{{- if not .Values.nodeRepair -}}
{{- $own = append $own (dict "name" "NODE_REPAIR" "value" "false") -}}
{{- end -}}
{{- with .Values.workloadIdentity.clientId -}}
{{- $own = append $own (dict "name" "AZURE_CLIENT_ID" "value" .) -}}
{{- end -}}
{{- with .Values.workloadIdentity.tenantId -}}
{{- $own = append $own (dict "name" "AZURE_TENANT_ID" "value" .) -}}
{{- end -}}
{{- with .Values.tracing.endpoint -}}
{{- $own = concat $own (list
  (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" .)
  (dict "name" "OTEL_TRACES_SAMPLER_ARG" "value" (toString $.Values.tracing.sampleRatio))
) -}}
{{- with $.Values.tracing.headersSecret -}}
{{- if .name -}}
{{- $own = append $own (dict "name" "OTEL_EXPORTER_OTLP_HEADERS" "valueFrom" (dict "secretKeyRef" (dict "name" .name "key" .key))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $given := dict -}}
{{- range .Values.controller.env -}}
{{- $_ := set $given .name true -}}
{{- end -}}
{{- $env := list -}}
{{- range $own -}}
{{- if not (hasKey $given .name) -}}
{{- $env = append $env . -}}
{{- end -}}
{{- end -}}
{{- concat $env .Values.controller.env | toYaml -}}
{{- end -}}

{{- /* The port that an address asks. */ -}}
{{- define "gpu-provisioner.port" -}}
{{- $url := urlParse . -}}
{{- if regexMatch ":[0-9]+$" $url.host -}}
{{- regexFind "[0-9]+$" $url.host -}}
{{- else -}}
{{- ternary 443 80 (eq $url.scheme "https") -}}
{{- end -}}
{{- end -}}

{{- /* How a monitor has the pods asked. honorLabels: our metrics say themselves which namespace they are of; the operator
     would put the controllers' own in its place. */ -}}
{{- define "gpu-provisioner.scraped" -}}
{{- $own := dict "port" "http-metrics" "path" "/metrics" -}}
{{- if not (hasKey .endpointConfig "honorLabels") -}}
{{- $_ := set $own "honorLabels" true -}}
{{- end -}}
{{- merge (deepCopy .endpointConfig) $own | toYaml -}}
{{- end -}}
