{{/* What the schema can't say: which values exclude or need each other, and what is there already. */}}
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
{{- if and $jwt.audience $jwt.anyAudience }}
{{- fail "auth.jwt: give audience or anyAudience, not both" }}
{{- end }}
{{- if and $public (not (or $jwt.audience $jwt.anyAudience)) }}
{{- fail (printf "auth.jwt.audience: is required with %s, or tokens for the issuer's other services would be good here: set it, or auth.jwt.anyAudience to true if they are to be" $public) }}
{{- end }}
{{- with .Values.auth.login }}
{{- if and (or .issuer .audience) (not .clientId) }}
{{- fail "auth.login.clientId: is required with issuer or audience, which are of no use without a client: set it" }}
{{- end }}
{{- if and .clientId (not .issuer) (not (regexMatch "^https?://[^/?#@\\s][^?#@\\s]*$" $jwt.issuer)) }}
{{- fail "auth.login.issuer: is required with clientId where auth.jwt.issuer is no URL: set it" }}
{{- end }}
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
{{- include "backupexport.checkDeliveries" (list . "deliveries" .Values.deliveries) }}
{{- range .Values.exportTargets }}
{{- include "backupexport.checkDeliveries" (list $ (printf "exportTargets of %s: deliveries" .projectId) .deliveries) }}
{{- end }}
{{- include "backupexport.checkStorages" . }}
{{- if and (include "backupexport.mountsExports" .) (not .Values.storage.existingClaim) (has "ReadWriteOncePod" .Values.storage.accessModes) }}
{{- fail "api.downloads.enabled: a ReadWriteOncePod volume is for one pod at a time, and the api's would keep every runner from it" }}
{{- end }}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" (include "backupexport.fullname" .)) }}
{{- fail (printf "the release's name makes the name %q, which no Service may have: give another one in fullnameOverride" (include "backupexport.fullname" .)) }}
{{- end }}
{{- with include "backupexport.otherRelease" (list . (lookup "apps/v1" "Deployment" .Release.Namespace "")) }}
{{- fail (printf "release %s is in the namespace %s already, and its operator would serve the same BackupExports: one release a namespace" . $.Release.Namespace) }}
{{- end }}
{{- if not .Values.api.service.enabled }}
{{- if .Values.ingress.enabled }}{{ fail "ingress.enabled: needs api.service.enabled" }}{{ end }}
{{- if .Values.metrics.serviceMonitor.enabled }}{{ fail "metrics.serviceMonitor.enabled: needs api.service.enabled" }}{{ end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress.hosts: name at least one host" }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- range .Values.ingress.tls }}
{{- if not (or .secretName .hosts) }}
{{- fail "ingress.tls: an entry names neither secretName nor hosts, and an Ingress serves nothing by it: name the Secret with the certificate, or, for the ingress controller's own certificate, the hosts" }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.allowHttp) }}
{{- with include "backupexport.hostsWithoutTls" . }}
{{- fail (printf "ingress.tls: has nothing for %s, so tokens would travel in the clear: name a Secret with a certificate, or set ingress.allowHttp=true where TLS ends elsewhere" .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Each storage is of one kind, and there is one for ExportTargets that name none. */}}
{{- define "backupexport.checkStorages" -}}
{{- $kinds := .Files.Get "files/storages.json" | fromJson }}
{{- range $name, $storage := .Values.storages }}
{{- $given := list }}
{{- range $kind, $_ := $kinds }}{{ if get $storage $kind }}{{ $given = append $given $kind }}{{ end }}{{ end }}
{{- if ne (len $given) 1 }}
{{- fail (printf "storages.%s: must have exactly one of %s" $name (keys $kinds | sortAlpha | join ", ")) }}
{{- end }}
{{- if and (eq (first $given) "volume") (or $storage.secretRef $storage.caCertificates) }}
{{- fail (printf "storages.%s: a volume has neither secretRef nor caCertificates" $name) }}
{{- end }}
{{- end }}
{{- if not (or (include "backupexport.hasVolume" .) (dig "default" "" (default dict .Values.storages))) }}
{{- fail "storage.enabled: without the chart's volume, name another storage in storages.default, for ExportTargets that name none" }}
{{- end }}
{{- with .Values.runner.spool }}
{{- if and .size .sizeLimit }}
{{- fail "runner.spool: give size, for a volume, or sizeLimit, for the node's disk, not both" }}
{{- end }}
{{- if and .storageClassName (not .size) }}
{{- fail "runner.spool.storageClassName: needs size" }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The hosts of the Ingress that no entry of its tls covers. An entry without hosts is for all, one
     without secretName for the controller's own certificate, and a wildcard for one label. */}}
{{- define "backupexport.hostsWithoutTls" -}}
{{- $all := false -}}
{{- $covered := list -}}
{{- range .Values.ingress.tls -}}
{{- if not .hosts }}{{ $all = true }}{{ end -}}
{{- $covered = concat $covered (default list .hosts) -}}
{{- end -}}
{{- $bare := list -}}
{{- range .Values.ingress.hosts -}}
{{- $wildcard := regexReplaceAll "^[^.]+" . "*" -}}
{{- if not (or $all (has . $covered) (has $wildcard $covered)) }}{{ $bare = append $bare . }}{{ end -}}
{{- end -}}
{{- join ", " $bare -}}
{{- end -}}

{{/* The CRD's rules of several fields, which the API server and the operator would refuse too; of
     (list . path deliveries). */}}
{{- define "backupexport.checkDeliveries" -}}
{{- $deliveries := default dict (index . 2) }}
{{- $path := index . 1 }}
{{- range $kind, $about := (index . 0).Files.Get "files/deliveries.json" | fromJson }}
{{- $settings := get $deliveries $kind }}
{{- if kindIs "map" $settings }}
{{- range $rule := $about.rules }}
{{- if eq (toString (dig $rule.field $rule.default $settings)) (toString $rule.value) }}
{{- $broken := false }}
{{- range $rule.needs }}{{ if not (get $settings .) }}{{ $broken = true }}{{ end }}{{ end }}
{{- range $rule.excludes }}{{ if get $settings . }}{{ $broken = true }}{{ end }}{{ end }}
{{- if $broken }}{{ fail (printf "%s.%s: %s" $path $kind $rule.message) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The name of a release, other than this one, whose operator is among Deployments as of lookup; of
     (list . deployments). Neither nameOverride nor commonLabels change these labels. */}}
{{- define "backupexport.otherRelease" -}}
{{- $ := index . 0 -}}
{{- $others := list -}}
{{- range (index . 1).items -}}
{{- $labels := default dict .metadata.labels -}}
{{- $operator := and (eq (get $labels "app.kubernetes.io/part-of") "backupexport") (eq (get $labels "app.kubernetes.io/component") "operator") -}}
{{- $release := get $labels "app.kubernetes.io/instance" -}}
{{- if and $operator (ne $release $.Release.Name) }}{{ $others = append $others $release }}{{ end -}}
{{- end -}}
{{- join ", " $others -}}
{{- end -}}
