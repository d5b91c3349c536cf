{{- define "kaito.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kaito.fullname" -}}
{{- $name := include "kaito.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kaito.serviceName" -}}
{{- default (include "kaito.fullname" .) .Values.serviceName -}}
{{- end -}}

{{- define "kaito.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kaito.fullname" .) .Values.serviceAccountName -}}
{{- else -}}
{{- required "serviceAccountName is needed where serviceAccount.create is false" .Values.serviceAccountName -}}
{{- end -}}
{{- end -}}

{{- define "kaito.selectorLabels" -}}
{{- if .Values.selectorLabels -}}
{{- toYaml .Values.selectorLabels -}}
{{- else -}}
app.kubernetes.io/name: {{ include "kaito.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end -}}

{{- define "kaito.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "kaito.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kaito.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kaito.featureGates" -}}
{{- $gates := list -}}
{{- range $name, $on := .Values.featureGates -}}
{{- $gates = append $gates (printf "%s=%t" $name $on) -}}
{{- end -}}
{{- join "," $gates -}}
{{- end -}}

{{- /* Where nodes come from, with the feature gate that says the same as byo. */ -}}
{{- define "kaito.nodeProvisioner" -}}
{{- if .Values.featureGates.disableNodeAutoProvisioning -}}byo{{- else -}}{{ .Values.nodeProvisioner }}{{- end -}}
{{- end -}}

{{- /* Of the chosen Karpenter provider, as JSON. */ -}}
{{- define "kaito.karpenterProvider" -}}
{{- $name := .Values.karpenterProvider -}}
{{- $provider := get .Values.karpenterProviders $name | required (printf "karpenterProvider %q is no name of karpenterProviders" $name) -}}
{{- if not $provider.nodeClasses -}}
{{- fail (printf "karpenterProviders.%s.nodeClasses needs at least one node class" $name) -}}
{{- end -}}
{{- toJson $provider -}}
{{- end -}}

{{- /* Where a given certificate is mounted; the controller reads tls.crt and tls.key there. */ -}}
{{- define "kaito.certDir" -}}/var/run/secrets/webhook{{- end -}}

{{- /* The Secret that the controller keeps its own certificate in. */ -}}
{{- define "kaito.ownCertSecret" -}}
{{- printf "%s-webhook-cert" (include "kaito.fullname" .) -}}
{{- end -}}

{{- /* The program's environment. An entry of env replaces ours: two of one name are ambiguous. */ -}}
{{- define "kaito.env" -}}
{{- $own := list
  (dict "name" "CLOUD_PROVIDER" "value" .Values.cloudProviderName)
  (dict "name" "NODE_PROVISIONER" "value" .Values.nodeProvisioner)
  (dict "name" "PRESET_REGISTRY_NAME" "value" .Values.presetRegistryName)
  (dict "name" "SERVING_IMAGE_TAG" "value" (default .Chart.AppVersion .Values.servingImageTag))
  (dict "name" "WEIGHTS_CACHE" "value" .Values.weightsCache)
  (dict "name" "WEIGHTS_CACHE_PATH" "value" .Values.weightsCachePath)
  (dict "name" "IMAGE_VOLUMES" "value" (toString .Values.imageVolumes))
  (dict "name" "FEATURE_GATES" "value" (include "kaito.featureGates" .))
  (dict "name" "ESTIMATOR" "value" .Values.estimator)
  (dict "name" "BENCHMARK" "value" (toString .Values.benchmark.enabled))
  (dict "name" "POD_LOGS" "value" (toString .Values.podLogs.enabled))
  (dict "name" "WEBHOOK_SERVICE" "value" (include "kaito.serviceName" .))
  (dict "name" "WEBHOOK_PORT" "value" (toString .Values.webhook.port))
  (dict "name" "METRICS_PORT" "value" (toString .Values.metrics.port))
  (dict "name" "HEALTH_PROBE_PORT" "value" (toString .Values.healthProbe.port))
  (dict "name" "LEADER_ELECT" "value" (toString .Values.leaderElect))
  (dict "name" "LOG_LEVEL" "value" .Values.logging.level)
  (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
  (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))
-}}
{{- if .Values.webhook.certSecretName -}}
{{- $own = append $own (dict "name" "WEBHOOK_CERT_DIR" "value" (include "kaito.certDir" .)) -}}
{{- else -}}
{{- $own = append $own (dict "name" "WEBHOOK_CERT_SECRET" "value" (include "kaito.ownCertSecret" .)) -}}
{{- end -}}
{{- if eq (include "kaito.nodeProvisioner" .) "karpenter" -}}
{{- $provider := include "kaito.karpenterProvider" . | fromJson -}}
{{- $own = concat $own (list
  (dict "name" "KARPENTER_NODE_CLASS_GROUP" "value" $provider.group)
  (dict "name" "KARPENTER_NODE_CLASS_KIND" "value" $provider.kind)
  (dict "name" "KARPENTER_NODE_CLASS_VERSION" "value" $provider.version)
  (dict "name" "KARPENTER_NODE_CLASS_RESOURCE_NAME" "value" $provider.resourceName)
  (dict "name" "KARPENTER_NODE_CLASSES" "value" (toJson $provider.nodeClasses))
) -}}
{{- end -}}
{{- with .Values.huggingFaceEndpoint -}}
{{- $own = append $own (dict "name" "HF_ENDPOINT" "value" .) -}}
{{- end -}}
{{- with .Values.insecureRegistries -}}
{{- $own = append $own (dict "name" "INSECURE_REGISTRIES" "value" .) -}}
{{- end -}}
{{- if .Values.huggingFaceOffline -}}
{{- $own = append $own (dict "name" "HF_HUB_OFFLINE" "value" "true") -}}
{{- end -}}
{{- $given := dict -}}
{{- range .Values.env -}}
{{- $_ := set $given .name true -}}
{{- end -}}
{{- $env := list -}}
{{- range $own -}}
{{- if not (hasKey $given .name) -}}
{{- $env = append $env . -}}
{{- end -}}
{{- end -}}
{{- concat $env .Values.env | toYaml -}}
{{- end -}}
