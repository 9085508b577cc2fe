{{/* Whether the chart brings the storage that all replicas count exports in. */}}
{{- define "backupexport.usesValkey" -}}
{{- $limits := .Values.api.rateLimit -}}
{{- $enabled := .Values.valkey.enabled -}}
{{- if kindIs "invalid" $enabled -}}
{{- $enabled = and (include "backupexport.hasReplicas" .) (not (or $limits.storageUrl $limits.storageUrlSecret.name)) -}}
{{- end -}}
{{- if $enabled }}yes{{ end -}}
{{- end -}}

{{- define "backupexport.valkeySecretName" -}}
{{- default (printf "%s-valkey" (include "backupexport.fullname" .)) .Values.valkey.existingSecret -}}
{{- end -}}

{{/* Made once for a rendering: the Secret and the checksums have to agree. */}}
{{- define "backupexport.valkeyPassword" -}}
{{- if not (hasKey .Values.valkey "effectivePassword") -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (include "backupexport.valkeySecretName" .) -}}
{{- $kept := dig "data" "password" "" $there | b64dec -}}
{{- if not (or .Values.valkey.password $kept) }}{{ include "backupexport.checkMayMake" (list . "valkey" "password" "url and users.acl") }}{{ end -}}
{{- $_ := set .Values.valkey "effectivePassword" (coalesce .Values.valkey.password $kept (randAlphaNum 48)) -}}
{{- end -}}
{{- .Values.valkey.effectivePassword -}}
{{- end -}}

{{/* What the limits library needs, and nothing more. */}}
{{- define "backupexport.valkeyUsers" -}}
user default off
user api on #{{ include "backupexport.valkeyPassword" . | sha256sum }} resetchannels ~LIMITS:* -@all +evalsha +script|load +lindex +lpush +ltrim +expire +ping +client|setinfo
{{ end -}}
