{{- /* What the schema cannot say in a sentence: formats, and values that must fit each other. One line a mistake, so that
     all of them are told at once. `helm lint` does not stop at these; `helm template`, `install` and `upgrade` do. */ -}}
{{- define "kaito.checks" -}}
{{- with include "kaito.mistakes" . | trim -}}
{{- fail (printf "these values cannot be:\n%s" .) -}}
{{- end -}}
{{- end -}}

{{- define "kaito.mistakes" -}}
{{- with regexFindAll "REPLACE-[A-Z0-9-]*[A-Z0-9]" (toJson .Values) -1 }}
- placeholders of the values file are still to be replaced: {{ uniq . | sortAlpha | join ", " }}.
{{- end }}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.leaderElect) }}
- leaderElect is false with replicaCount {{ .Values.replicaCount }}; without a leader all of them would ask for nodes, so set replicaCount to 1 or leaderElect to true.
{{- end }}
{{- range .Values.env }}
{{- if and (gt (int $.Values.replicaCount) 1) (eq .name "LEADER_ELECT") (not .valueFrom) (has (.value | default "" | toString | lower) (list "" "0" "false" "no")) }}
- env has LEADER_ELECT={{ .value | default "" | quote }} with replicaCount {{ $.Values.replicaCount }}; without a leader all of them would ask for nodes, so leave it out.
{{- end }}
{{- if and (has .name (list "BENCHMARK" "HF_HUB_OFFLINE" "LEADER_ELECT" "POD_LOGS" "WEBHOOK")) (not (has (.value | default "" | lower) (list "" "true" "1" "yes" "false" "0" "no"))) }}
- env has {{ .name }}={{ quote .value }}; the program takes true or false, and would end at once.
{{- end }}
{{- end }}
{{- $delay := 5.0 }}
{{- range .Values.env }}
{{- if and (eq .name "SHUTDOWN_DELAY") .value }}
{{- $delay = float64 .value }}
{{- end }}
{{- end }}
{{- include "kaito.mistakes.grace" (dict "seconds" .Values.terminationGracePeriodSeconds "delay" $delay) }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccountName) }}
- serviceAccountName is empty and serviceAccount.create false; name the account that the pods are to run as.
{{- end }}
{{- include "kaito.mistakes.ports" (dict "metrics.port" .Values.metrics.port "healthProbe.port" .Values.healthProbe.port "webhook.port" .Values.webhook.port "debug.port" .Values.debug.port) }}
{{- include "kaito.mistakes.image" (merge (dict "name" "image") .Values.image) }}
{{- if not .Values.presetRegistryName }}
- presetRegistryName is empty; name the registry and path of the images.
{{- else if not (regexMatch "^([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\])(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/?$" .Values.presetRegistryName) }}
- presetRegistryName is {{ quote .Values.presetRegistryName }}; write the registry and path of the images, such as registry.example/kaito.
{{- end }}
{{- include "kaito.mistakes.names" (dict
  "nameOverride" .Values.nameOverride
  "fullnameOverride" .Values.fullnameOverride
  "deploymentName" .Values.deploymentName
  "serviceName" .Values.serviceName
  "serviceAccountName" .Values.serviceAccountName
  "clusterRoleName" .Values.clusterRoleName
  "clusterRoleBindingName" .Values.clusterRoleBindingName
  "roleName" .Values.roleName
  "roleBindingName" .Values.roleBindingName
  "webhook.certSecretName" .Values.webhook.certSecretName
  "nvidiaDevicePlugin.namespace" .Values.nvidiaDevicePlugin.namespace
) }}
{{- include "kaito.mistakes.webhook" .Values.webhook }}
{{- include "kaito.mistakes.weights" . }}
{{- include "kaito.mistakes.nodeclasses" . }}
{{- if and .Values.endpointNetworkPolicy.from (not .Values.endpointNetworkPolicy.enabled) }}
- endpointNetworkPolicy.from is given and endpointNetworkPolicy.enabled false; no endpoint would be closed, so set it to true or leave from out.
{{- end }}
{{- range .Values.endpointNetworkPolicy.from }}
{{- if not . }}
- endpointNetworkPolicy.from has an empty entry, which would be nobody; give it a namespaceSelector, podSelector or ipBlock.
{{- else if and (hasKey . "ipBlock") (gt (len .) 1) }}
- endpointNetworkPolicy.from has an ipBlock beside a selector; make two entries of it.
{{- end }}
{{- end }}
{{- include "kaito.mistakes.operations" . }}
{{- end -}}

{{- define "kaito.mistakes.webhook" }}
{{- if .certManager.enabled }}
{{- range $key := list "certSecretName" "caBundle" }}
{{- if get $ $key }}
- webhook.{{ $key }} is given and webhook.certManager.enabled true; cert-manager makes both the certificate and its CA, so leave {{ $key }} out.
{{- end }}
{{- end }}
{{- range $key := list "duration" "renewBefore" }}
{{- if not (regexMatch "^([0-9]+(h|m|s))+$" (get $.certManager $key)) }}
- webhook.certManager.{{ $key }} is {{ get $.certManager $key | quote }}; write a time such as 2160h.
{{- end }}
{{- end }}
{{- else if and .caBundle (not .certSecretName) }}
- webhook.caBundle is given without webhook.certSecretName; the controller's own certificate is not signed by that CA, so name the Secret of the one that is.
{{- end }}
{{- end }}

{{- define "kaito.mistakes.weights" }}
{{- if not (regexMatch "^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$" .Values.weightsCachePath) }}
- weightsCachePath is {{ quote .Values.weightsCachePath }}; write an absolute path on the nodes, such as /var/lib/kaito/weights.
{{- end }}
{{- if not (regexMatch "^(https?://.+)?$" .Values.huggingFaceEndpoint) }}
- huggingFaceEndpoint is {{ quote .Values.huggingFaceEndpoint }}; write the mirror's address, such as https://hub.example.
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9.-]+(:[0-9]+)?(, *|$))*$" .Values.insecureRegistries) }}
- insecureRegistries is {{ quote .Values.insecureRegistries }}; write host:port, separated by commas.
{{- end }}
{{- end }}

{{- define "kaito.mistakes.nodeclasses" }}
{{- if not (hasKey .Values.karpenterProviders .Values.karpenterProvider) }}
- karpenterProvider is {{ quote .Values.karpenterProvider }}; write one of karpenterProviders: {{ keys .Values.karpenterProviders | sortAlpha | join ", " }}.
{{- end }}
{{- range $provider, $class := .Values.karpenterProviders }}
{{- range $key := list "group" "kind" "version" "resourceName" }}
{{- if not (get $class $key) }}
- karpenterProviders.{{ $provider }}.{{ $key }} is empty; it is that of the node class's API.
{{- end }}
{{- end }}
{{- range $class.nodeClasses }}
{{- if or (gt (len .name) 253) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .name)) }}
- karpenterProviders.{{ $provider }}.nodeClasses has the name {{ quote .name }}; write lower-case letters, digits, "-" and ".", as in a DNS name.
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kaito.mistakes.ports" }}
{{- $seen := dict }}
{{- range $name, $port := . }}
{{- $key := toString $port }}
{{- if and (ne $key "0") (hasKey $seen $key) }}
- {{ $name }} is {{ $port }}, which is {{ get $seen $key }} already; a pod needs a port for each.
{{- end }}
{{- $_ := set $seen $key $name }}
{{- end }}
{{- end }}

{{- define "kaito.mistakes.digest" }}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" .value) }}
- {{ .name }} is {{ quote .value }}; write sha256: and 64 hexadecimal digits.
{{- end }}
{{- end }}

{{- define "kaito.mistakes.image" }}
{{- if not .repository }}
- {{ .name }}.repository is empty; name the image's registry and path.
{{- else if not (regexMatch "^(([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\])(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$" .repository) }}
- {{ .name }}.repository is {{ quote .repository }}; write registry and path, such as registry.example/kaito-controllers, without a tag.
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?)?$" .tag) }}
- {{ .name }}.tag is {{ quote .tag }}; write at most 128 letters, digits, "_", "." and "-".
{{- end }}
{{- if .digest }}
{{- include "kaito.mistakes.digest" (dict "name" (printf "%s.digest" .name) "value" .digest) }}
{{- end }}
{{- end }}

{{- /* Of the end of a pod: what it does then must fit in. seconds: null is Kubernetes' own. */ -}}
{{- define "kaito.mistakes.grace" }}
{{- $seconds := ternary 30 .seconds (kindIs "invalid" .seconds) }}
{{- if le (float64 $seconds) (addf 22 .delay) }}
- terminationGracePeriodSeconds is {{ $seconds }}; write more than {{ addf 22 .delay }}: reconciles have 20 s to end and last events 2 s{{ if .delay }}, beside a SHUTDOWN_DELAY of {{ .delay }} s{{ end }}.
{{- end }}
{{- end }}

{{- define "kaito.mistakes.names" }}
{{- range $name, $value := . }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?)?$" $value) }}
- {{ $name }} is {{ quote $value }}; write at most 63 lower-case letters, digits, "-" and ".", with a letter or digit at both ends.
{{- end }}
{{- end }}
{{- end }}

{{- define "kaito.mistakes.operations" }}
{{- if not (regexMatch "^(https?://.+)?$" .Values.tracing.endpoint) }}
- tracing.endpoint is {{ quote .Values.tracing.endpoint }}; write the collector's address for OTLP over HTTP, such as http://collector.monitoring:4318.
{{- end }}
{{- with .Values.tracing.headersSecret }}
{{- if ne (empty .name) (empty .key) }}
- tracing.headersSecret has {{ ternary "a key" "a name" (empty .name) }} alone; it takes the Secret's name and the key in it.
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
- serviceMonitor.enabled and podMonitor.enabled are both true; every sample would be taken twice, so choose one.
{{- end }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$" .Values.priorityClassName) }}
- priorityClassName is {{ quote .Values.priorityClassName }}; write the name of a PriorityClass, lower-case letters, digits, "-" and ".", or nothing.
{{- end }}
{{- if not (regexMatch "^[0-9]+%?$" (toString .Values.podDisruptionBudget.maxUnavailable)) }}
- podDisruptionBudget.maxUnavailable is {{ quote .Values.podDisruptionBudget.maxUnavailable }}; write a number of pods, or a share such as 50%.
{{- end }}
{{- end }}
