{{/* Whether there is more than one replica, now or at times. */}}
{{- define "backupexport.hasReplicas" -}}
{{- if or .Values.api.autoscaling.enabled (gt (int .Values.api.replicas) 1) -}}yes{{- end -}}
{{- end -}}

{{- define "backupexport.usesJwtSecret" -}}
{{- range .Values.auth.jwt.algorithms }}{{ if hasPrefix "HS" . }}yes{{ end }}{{ end -}}
{{- end -}}

{{/* The algorithms that have public keys, or nothing. */}}
{{- define "backupexport.usesPublicKeys" -}}
{{- $names := list -}}
{{- range .Values.auth.jwt.algorithms }}{{ if not (hasPrefix "HS" .) }}{{ $names = append $names . }}{{ end }}{{ end -}}
{{- join ", " $names -}}
{{- end -}}

{{/* Whether the api has any files to send, or to send clients to. */}}
{{- define "backupexport.downloadsEnabled" -}}
{{- if or (include "backupexport.mountsExports" .) (include "backupexport.apiStorages" .) -}}yes{{- end -}}
{{- end -}}

{{/* Whether the api mounts the volume of `storage`: said, or where pods on several nodes can mount it at once. */}}
{{- define "backupexport.mountsExports" -}}
{{- $said := .Values.api.downloads.enabled -}}
{{- $shared := and (not .Values.storage.existingClaim) (has "ReadWriteMany" .Values.storage.accessModes) -}}
{{- if and (include "backupexport.hasVolume" .) (ternary $shared $said (kindIs "invalid" $said)) -}}yes{{- end -}}
{{- end -}}

{{/* Those of `storages` that the api has files of, as JSON, or nothing: buckets, unless it is told to have none, and
     volumes, where it is told to mount them. */}}
{{- define "backupexport.apiStorages" -}}
{{- $said := .Values.api.downloads.enabled -}}
{{- $found := dict -}}
{{- range $name, $storage := .Values.storages -}}
{{- if ternary (not $storage.volume) $said (kindIs "invalid" $said) }}{{ $_ := set $found $name $storage }}{{ end -}}
{{- end -}}
{{- include "backupexport.json" $found -}}
{{- end -}}

{{/* The names of the storages that the api has files of, as JSON. */}}
{{- define "backupexport.downloadableStorages" -}}
{{- $names := include "backupexport.apiStorages" . | default "{}" | fromJson | keys -}}
{{- if include "backupexport.mountsExports" . }}{{ $names = append $names "default" }}{{ end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* The name of the api's volume with a storage's files. */}}
{{- define "backupexport.storageVolume" -}}
exports-{{ sha256sum . | trunc 12 }}
{{- end -}}

{{- define "backupexport.linksSecretName" -}}
{{- default (printf "%s-links" (include "backupexport.fullname" .)) .Values.api.links.existingSecret -}}
{{- end -}}

{{/* Enough to see a change by, too little to guess a secret by. */}}
{{- define "backupexport.apiChecksums" -}}
{{- $sums := dict -}}
{{- with .Values.auth.jwt.secret }}{{ $_ := set $sums "checksum/jwt" (sha256sum . | trunc 6) }}{{ end -}}
{{- with .Values.api.links.secret }}{{ $_ := set $sums "checksum/links" (sha256sum . | trunc 6) }}{{ end -}}
{{- with .Values.auth.jwt.publicKey }}{{ $_ := set $sums "checksum/jwt-public" (sha256sum . | trunc 16) }}{{ end -}}
{{- if and (include "backupexport.usesValkey" .) (not .Values.valkey.existingSecret) -}}
{{- $_ := set $sums "checksum/valkey" (sha256sum (include "backupexport.valkeyPassword" .) | trunc 6) -}}
{{- end -}}
{{- toYaml $sums -}}
{{- end -}}

{{/* A source of a projected volume: one key of one Secret as a file; of (list secret key path optional). */}}
{{- define "backupexport.secretFile" -}}
- secret:
    name: {{ index . 0 }}
    {{- if index . 3 }}
    optional: true
    {{- end }}
    items:
      - key: {{ index . 1 }}
        path: {{ index . 2 }}
{{- end -}}
