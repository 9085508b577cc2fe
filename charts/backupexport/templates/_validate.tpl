{{/* What the schema can't say: which values exclude or need each other. */}}
{{- define "backupexport.validate" -}}
{{- $jwt := .Values.auth.jwt }}
{{- if and $jwt.secret $jwt.existingSecret }}
{{- fail "auth.jwt: give secret or existingSecret, not both" }}
{{- end }}
{{- if and $jwt.publicKey $jwt.jwksUrl }}
{{- fail "auth.jwt: give publicKey or jwksUrl, not both" }}
{{- end }}
{{- $public := include "backupexport.usesPublicKeys" . }}
{{- if and $public (not (or $jwt.publicKey $jwt.jwksUrl)) }}
{{- fail (printf "auth.jwt: %s needs publicKey or jwksUrl" $public) }}
{{- end }}
{{- if and (or $jwt.publicKey $jwt.jwksUrl) (not $public) }}
{{- fail "auth.jwt: publicKey and jwksUrl need an algorithm such as RS256 in algorithms" }}
{{- end }}
{{- with .Values.api.links }}
{{- if and .secret .existingSecret }}
{{- fail "api.links: give secret or existingSecret, not both" }}
{{- end }}
{{- if and .secret (eq .secret $jwt.secret) }}
{{- fail "api.links.secret: must be another one than auth.jwt.secret" }}
{{- end }}
{{- end }}
{{- $limits := .Values.api.rateLimit }}
{{- if and $limits.storageUrl $limits.storageUrlSecret.name }}
{{- fail "api.rateLimit: give storageUrl or storageUrlSecret, not both" }}
{{- end }}
{{- if and .Values.valkey.enabled (or $limits.storageUrl $limits.storageUrlSecret.name) }}
{{- fail "valkey.enabled: api.rateLimit names another storage already" }}
{{- end }}
{{- if and .Values.valkey.password .Values.valkey.existingSecret }}
{{- fail "valkey: give password or existingSecret, not both" }}
{{- end }}
{{- /* The API gives its last requests 10 s, and needs a moment to end. */}}
{{- $least := addf .Values.api.drainSeconds 15 }}
{{- if lt (float64 .Values.api.terminationGracePeriodSeconds) $least }}
{{- fail (printf "api.terminationGracePeriodSeconds: must be at least %v, 15 more than drainSeconds" $least) }}
{{- end }}
{{- with .Values.api.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail "api.autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- end }}
{{- with .Values.operator.lease }}
{{- if gt (float64 .renewDeadlineSeconds) (subf .seconds 1) }}
{{- fail "operator.lease: renewDeadlineSeconds must be at least 1 less than seconds" }}
{{- end }}
{{- if gt (float64 .retrySeconds) (divf .renewDeadlineSeconds 2) }}
{{- fail "operator.lease: retrySeconds must be at most half of renewDeadlineSeconds" }}
{{- end }}
{{- end }}
{{- /* The CRD knows the kinds of delivery and their fields; a mistyped one would mean nothing. */}}
{{- $crd := .Files.Get "files/crds/exporttargets.yaml" | fromYaml }}
{{- $spec := (index $crd.spec.versions 0).schema.openAPIV3Schema.properties.spec }}
{{- include "backupexport.checkFields" (list "deliveries" .Values.deliveries $spec.properties.deliveries) }}
{{- range .Values.exportTargets }}
{{- $where := printf "exportTargets of %s: deliveries" .projectId }}
{{- include "backupexport.checkFields" (list $where .deliveries $spec.properties.deliveries) }}
{{- end }}
{{- if not .Values.api.service.enabled }}
{{- if .Values.ingress.enabled }}{{ fail "ingress.enabled: needs api.service.enabled" }}{{ end }}
{{- if .Values.metrics.serviceMonitor.enabled }}{{ fail "metrics.serviceMonitor.enabled: needs api.service.enabled" }}{{ end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress.hosts: name at least one host" }}
{{- end }}
{{- end -}}

{{/* That an object has only the fields of a schema, at any depth; of (list path object schema). */}}
{{- define "backupexport.checkFields" -}}
{{- $path := index . 0 }}
{{- $schema := index . 2 }}
{{- range $field, $value := index . 1 }}
{{- if not (hasKey $schema.properties $field) }}
{{- fail (printf "%s.%s: there is no such field, but %s" $path $field (keys $schema.properties | sortAlpha | join ", ")) }}
{{- end }}
{{- $below := get $schema.properties $field }}
{{- if and (kindIs "map" $value) (hasKey $below "properties") }}
{{- include "backupexport.checkFields" (list (printf "%s.%s" $path $field) $value $below) }}
{{- end }}
{{- end }}
{{- end -}}
