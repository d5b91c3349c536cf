{{- /* What the schema cannot say in a sentence: formats, and values that must fit each other. One line a mistake, so that
     all of them are told at once. `helm lint` does not stop at these; `helm template`, `install` and `upgrade` do. */ -}}
{{- define "gpu-provisioner.checks" -}}
{{- with include "gpu-provisioner.mistakes" . | trim -}}
{{- fail (printf "these values cannot be:\n%s" .) -}}
{{- end -}}
{{- end -}}

{{- define "gpu-provisioner.mistakes" -}}
{{- $cloud := .Values.cloudProviderName }}
{{- with regexFindAll "REPLACE-[A-Z0-9-]*[A-Z0-9]" (toJson .Values) -1 }}
- placeholders of the values file are still to be replaced: {{ uniq . | sortAlpha | join ", " }}.
{{- end }}
{{- if eq $cloud "local" }}
{{- if not (regexMatch "^https?://.+" .Values.localMachines.url) }}
- localMachines.url is {{ quote .Values.localMachines.url }}; cloudProviderName local needs the address of the machines API, such as http://10.88.0.1:10700.
{{- end }}
{{- range $key := list "name" "key" }}
{{- if not (get $.Values.localMachines.tokenSecret $key) }}
- localMachines.tokenSecret.{{ $key }} is empty; cloudProviderName local needs the Secret, and the key in it, with the token of the machines API.
{{- end }}
{{- end }}
{{- end }}
{{- $needed := dict
  "arc" (list "clusterId" "customLocationId")
  "aws" (list "region" "clusterName")
  "azure" (list "subscriptionId" "resourceGroup" "clusterName" "location")
  "gcp" (list "project" "location" "clusterName")
}}
{{- range $key := get $needed $cloud | default list }}
{{- if not (get (get $.Values.settings $cloud | default dict) $key) }}
- settings.{{ $cloud }}.{{ $key }} is missing; cloudProviderName {{ $cloud }} needs it (docs/clouds/{{ $cloud }}.md).
{{- end }}
{{- end }}
{{- range .Values.nodeClasses }}
{{- if not (regexMatch "^[A-Za-z0-9]+\\.[a-z0-9.-]+$" .) }}
- nodeClasses has {{ quote . }}; write Kind.group, such as EC2NodeClass.karpenter.k8s.aws.
{{- end }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not .Values.controller.leaderElect) }}
- controller.leaderElect is false with replicas {{ .Values.replicas }}; without a leader all of them would make nodes, so set replicas to 1 or controller.leaderElect to true.
{{- end }}
{{- range .Values.controller.env }}
{{- if and (has .name (list "LEADER_ELECT" "NODE_REPAIR")) (not (has (.value | default "" | lower) (list "" "true" "false"))) }}
- controller.env has {{ .name }}={{ quote .value }}; the program takes true or false, and would end at once.
{{- else if and (gt (int $.Values.replicas) 1) (eq .name "LEADER_ELECT") (eq (.value | default "" | lower) "false") }}
- controller.env has LEADER_ELECT={{ quote .value }} with replicas {{ $.Values.replicas }}; without a leader all of them would make nodes, so leave it out.
{{- end }}
{{- end }}
{{- include "gpu-provisioner.mistakes.grace" (dict "seconds" .Values.terminationGracePeriodSeconds "delay" 0) }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
- serviceAccount.name is empty and serviceAccount.create false; name the account that the pods are to run as.
{{- end }}
{{- $ports := dict "controller.metrics.port" .Values.controller.metrics.port "controller.healthProbe.port" .Values.controller.healthProbe.port "debug.port" .Values.debug.port }}
{{- include "gpu-provisioner.mistakes.ports" $ports }}
{{- include "gpu-provisioner.mistakes.image" (merge (dict "name" "controller.image") .Values.controller.image) }}
{{- $names := dict "nameOverride" .Values.nameOverride "fullnameOverride" .Values.fullnameOverride "podDisruptionBudget.name" .Values.podDisruptionBudget.name "localMachines.tokenSecret.name" .Values.localMachines.tokenSecret.name "serviceAccount.name" .Values.serviceAccount.name }}
{{- include "gpu-provisioner.mistakes.names" $names }}
{{- include "gpu-provisioner.mistakes.operations" . }}
{{- end -}}

{{- define "gpu-provisioner.mistakes.ports" }}
{{- $seen := dict }}
{{- range $name, $port := . }}
{{- $key := toString $port }}
{{- if and (ne $key "0") (hasKey $seen $key) }}
- {{ $name }} is {{ $port }}, which is {{ get $seen $key }} already; a pod needs a port for each.
{{- end }}
{{- $_ := set $seen $key $name }}
{{- end }}
{{- end }}

{{- define "gpu-provisioner.mistakes.digest" }}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" .value) }}
- {{ .name }} is {{ quote .value }}; write sha256: and 64 hexadecimal digits.
{{- end }}
{{- end }}

{{- define "gpu-provisioner.mistakes.image" }}
{{- if not .repository }}
- {{ .name }}.repository is empty; name the image's registry and path.
{{- else if not (regexMatch "^(([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\])(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$" .repository) }}
- {{ .name }}.repository is {{ quote .repository }}; write registry and path, such as registry.example/kaito-controllers, without a tag.
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?)?$" .tag) }}
- {{ .name }}.tag is {{ quote .tag }}; write at most 128 letters, digits, "_", "." and "-".
{{- end }}
{{- if .digest }}
{{- include "gpu-provisioner.mistakes.digest" (dict "name" (printf "%s.digest" .name) "value" .digest) }}
{{- end }}
{{- end }}

{{- /* Of the end of a pod: what it does then must fit in. seconds: null is Kubernetes' own. */ -}}
{{- define "gpu-provisioner.mistakes.grace" }}
{{- $seconds := ternary 30 .seconds (kindIs "invalid" .seconds) }}
{{- if le (float64 $seconds) (addf 22 .delay) }}
- terminationGracePeriodSeconds is {{ $seconds }}; write more than {{ addf 22 .delay }}: reconciles have 20 s to end and last events 2 s{{ if .delay }}, beside a SHUTDOWN_DELAY of {{ .delay }} s{{ end }}.
{{- end }}
{{- end }}

{{- define "gpu-provisioner.mistakes.names" }}
{{- range $name, $value := . }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?)?$" $value) }}
- {{ $name }} is {{ quote $value }}; write at most 63 lower-case letters, digits, "-" and ".", with a letter or digit at both ends.
{{- end }}
{{- end }}
{{- end }}

{{- define "gpu-provisioner.mistakes.operations" }}
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
