{{- /* What two settings must be together, and what a pattern of values.schema.json cannot say of one: the same rules as in
src/config/rules.rs and the range in src/config/check.rs. tests/chart.rs compares both. Fails with every problem at once. */}}
{{- define "tradewind.validate" -}}
{{- $s := merge (deepCopy .Values.settings) (fromYaml (include "tradewind.defaults" .)) }}
{{- $problems := list }}

{{- /* The pod has one network, and its Service has each port once. */}}
{{- $ports := list (include "tradewind.httpPort" .) (include "tradewind.metricsPort" .) (include "tradewind.healthPort" .) }}
{{- if lt (len (uniq $ports)) (len $ports) }}
{{- $problems = append $problems "listenAddress, metricsAddress and healthAddress: two servers cannot share one port" }}
{{- end }}

{{- $keys := list $s.workloadIdentityKey $s.envKey $s.deploymentAnnotation $s.admiralIgnoreLabel $s.identityPartitionKey }}
{{- if lt (len (uniq $keys)) (len $keys) }}
{{- $problems = append $problems "workloadIdentityKey, envKey, deploymentAnnotation, admiralIgnoreLabel and identityPartitionKey: one label or annotation of a pod template cannot mean two things" }}
{{- end }}

{{- $keys = list $s.admiralCrdIdentityLabel $s.envKey $s.priorityKey }}
{{- if lt (len (uniq $keys)) (len $keys) }}
{{- $problems = append $problems "admiralCrdIdentityLabel, envKey and priorityKey: one label of a policy cannot mean two things" }}
{{- end }}

{{- if or (eq $s.hostnameSuffix $s.clusterDomain) (hasSuffix (printf ".%s" $s.clusterDomain) $s.hostnameSuffix) }}
{{- $problems = append $problems "hostnameSuffix and clusterDomain: hosts would hide the clusters' own Services" }}
{{- end }}

{{- if and $s.nlbEnabledClusters (eq $s.gatewayApp $s.nlbIngressLabel) }}
{{- $problems = append $problems "gatewayApp and nlbIngressLabel: one label cannot name both gateways of a cluster" }}
{{- end }}

{{- if has $s.hostnameSuffix $s.additionalEndpointSuffixes }}
{{- $problems = append $problems "additionalEndpointSuffixes and hostnameSuffix: an additional suffix that is the main one adds nothing" }}
{{- end }}

{{- $range := include "tradewind.addresses" $s.addressRange | fromYaml }}
{{- if mod $range.first $range.size }}
{{- $problems = append $problems "addressRange: its address has bits set behind the prefix" }}
{{- end }}
{{- $taken := dict "0.0.0.0/8" "which no client can call" "127.0.0.0/8" "the loopback range" "224.0.0.0/4" "the multicast range" "240.240.0.0/16" "from which Istio itself allocates" }}
{{- range $other, $why := $taken }}
{{- $other_range := include "tradewind.addresses" $other | fromYaml }}
{{- if and (lt (int64 $range.first) (add $other_range.first $other_range.size)) (lt (int64 $other_range.first) (add $range.first $range.size)) }}
{{- $problems = append $problems (printf "addressRange: it overlaps %s, %s" $other $why) }}
{{- end }}
{{- end }}

{{- if $problems }}
{{- fail (printf "\n\nthe settings are refused:\n  settings.%s\n" (join "\n  settings." $problems)) }}
{{- end }}
{{- end }}

{{- /* Defaults of the program that the rules above need. */}}
{{- define "tradewind.defaults" -}}
workloadIdentityKey: identity
envKey: admiral.io/env
deploymentAnnotation: sidecar.istio.io/inject
admiralIgnoreLabel: admiral-ignore
identityPartitionKey: admiral.io/identityPartition
admiralCrdIdentityLabel: identity
priorityKey: priority
hostnameSuffix: global
clusterDomain: cluster.local
gatewayApp: istio-ingressgateway
nlbIngressLabel: istio-ingressgateway-nlb
nlbEnabledClusters: []
additionalEndpointSuffixes: []
addressRange: 240.0.0.0/16
{{- end }}

{{- /* The first address of an IPv4 range, as a number, and how many it has. */}}
{{- define "tradewind.addresses" -}}
{{- $parts := splitList "/" . }}
{{- $first := 0 }}
{{- range splitList "." (first $parts) }}
{{- $first = add (mul $first 256) (atoi .) }}
{{- end }}
{{- $size := 1 }}
{{- range until (int (sub 32 (atoi (last $parts)))) }}
{{- $size = mul $size 2 }}
{{- end }}
first: {{ $first }}
size: {{ $size }}
{{- end }}

{{- /* The namespaces, other than the release's, that objects of this chart are made in, each with the setting that names it. */}}
{{- define "tradewind.namespaces" -}}
{{- $named := dict }}
{{- if .Values.rbac.create }}
{{- if .Values.rbac.addressConfigMap }}
{{- $_ := set $named (include "tradewind.syncNamespace" .) "syncNamespace" }}
{{- end }}
{{- $_ := set $named (include "tradewind.dependencyNamespace" .) "dependencyNamespace" }}
{{- $_ := set $named (include "tradewind.secretNamespace" .) "secretNamespace" }}
{{- end }}
{{- toYaml (omit $named .Release.Namespace) }}
{{- end }}

{{- /* Refuses namespaces that are missing: a Role in one would end the installation half-way. Without a cluster to ask (helm
template, --dry-run=client) `lookup` finds nothing at all, not even the namespace that every cluster has. */}}
{{- define "tradewind.validateNamespaces" -}}
{{- if and .Values.checkNamespaces (not .Values.createNamespaces) }}
{{- if lookup "v1" "Namespace" "" "default" }}
{{- $missing := list }}
{{- range $namespace, $setting := include "tradewind.namespaces" . | fromYaml }}
{{- if not (lookup "v1" "Namespace" "" $namespace) }}
{{- $missing = append $missing (printf "%s (settings.%s)" $namespace $setting) }}
{{- end }}
{{- end }}
{{- if $missing }}
{{- fail (printf "\n\nthese namespaces do not exist: %s\nMake them (kubectl create namespace NAME), or let this chart make them with --set createNamespaces=true\n" (join ", " $missing)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
