{{- define "backupexport.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{/* 48 characters leave room for what the names end with. */}}
{{- define "backupexport.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains (include "backupexport.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "backupexport.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "backupexport.claimName" -}}
{{- default (printf "%s-exports" (include "backupexport.fullname" .)) .Values.storage.existingClaim -}}
{{- end -}}

{{/* Whether there is the volume of `storage`; the values of an older chart don't say. */}}
{{- define "backupexport.hasVolume" -}}
{{- if ne (toString .Values.storage.enabled) "false" }}yes{{ end -}}
{{- end -}}

{{/* Where files are kept, by name, as JSON. */}}
{{- define "backupexport.storages" -}}
{{- $storages := deepCopy (default dict .Values.storages) -}}
{{- if and (include "backupexport.hasVolume" .) (not (hasKey $storages "default")) -}}
{{- $_ := set $storages "default" (dict "volume" (dict "claim" (include "backupexport.claimName" .))) -}}
{{- end -}}
{{- include "backupexport.json" $storages -}}
{{- end -}}

{{/* The claims that the operator's Jobs may mount, as JSON. */}}
{{- define "backupexport.claims" -}}
{{- $claims := list -}}
{{- if include "backupexport.hasVolume" . }}{{ $claims = append $claims (include "backupexport.claimName" .) }}{{ end -}}
{{- range .Values.storages }}{{ $claims = append $claims (dig "volume" "claim" "" .) }}{{ end -}}
{{- concat $claims .Values.storage.formerClaims | compact | uniq | sortAlpha | toJson -}}
{{- end -}}

{{- define "backupexport.jwtSecretName" -}}
{{- default (printf "%s-jwt" (include "backupexport.fullname" .)) .Values.auth.jwt.existingSecret -}}
{{- end -}}

{{/*
What (list . name values path) has at values.key of the Secret of that name: what values.secret gives,
or what is there, or a new one. Long enough for HS512. `path` is where the values have it.
*/}}
{{- define "backupexport.signingSecret" -}}
{{- $ := index . 0 -}}
{{- $values := index . 2 -}}
{{- $kept := dig "data" $values.key "" (lookup "v1" "Secret" $.Release.Namespace (index . 1)) -}}
{{- if not (or $values.secret $kept) }}{{ include "backupexport.checkMayMake" (list $ (index . 3) "secret" $values.key) }}{{ end -}}
{{- with $values.secret }}{{ b64enc . }}{{ else }}{{ default (randAlphaNum 64 | b64enc) $kept }}{{ end -}}
{{- end -}}

{{/* Whether Helm sees the cluster that it renders for: in a namespace, or in one that is still to be
     made. Every cluster has these two. */}}
{{- define "backupexport.seesCluster" -}}
{{- if or (lookup "v1" "ServiceAccount" .Release.Namespace "default") (lookup "v1" "Namespace" "" "default") -}}yes{{- end -}}
{{- end -}}

{{/* Fails where a secret that is made now could not be kept; of (list . path field key), which say how
     to give it. */}}
{{- define "backupexport.checkMayMake" -}}
{{- if not (include "backupexport.seesCluster" (index . 0)) }}
{{- $path := index . 1 }}
{{- fail (printf "%s: Helm sees no cluster here (helm template, GitOps), so each rendering would make another secret: give %s.existingSecret, a Secret with the key %s, or %s.%s" $path $path (index . 3) $path (index . 2)) }}
{{- end }}
{{- end -}}

{{/* Of (list . component). */}}
{{- define "backupexport.selectorLabels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ include "backupexport.name" $ }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Of (list . component). */}}
{{- define "backupexport.labels" -}}
{{- $ := index . 0 -}}
{{- $own := fromYaml (include "backupexport.selectorLabels" .) -}}
{{- $_ := set $own "app.kubernetes.io/version" (toString $.Chart.AppVersion) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "backupexport" -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own $.Values.commonLabels) -}}
{{- end -}}

{{/* Of (list . component annotations): name to annotations of an object's metadata, for nindent 2. */}}
{{- define "backupexport.metadata" -}}
{{- $ := index . 0 -}}
namespace: {{ $.Release.Namespace | quote }}
labels:
  {{- include "backupexport.labels" (list $ (index . 1)) | nindent 2 }}
{{- with merge (dict) (index . 2) $.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of (list image chart). */}}
{{- define "backupexport.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 1).AppVersion $image.tag | toString) -}}
{{- end -}}
{{- end -}}

{{/* What every pod of the chart has in common: Pod Security "restricted", and no Service's address
     among its environment values, where BACKUPEXPORT_… are settings. */}}
{{- define "backupexport.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "backupexport.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Of (list . component checksums), where component names a part of the values. A changed
     checksum makes new pods. */}}
{{- define "backupexport.podMetadata" -}}
{{- $ := index . 0 -}}
{{- $values := index $.Values (index . 1) -}}
{{- $own := list (index . 0) (index . 1) -}}
labels:
  {{- toYaml (merge (fromYaml (include "backupexport.labels" $own)) $values.podLabels) | nindent 2 }}
{{- with merge (dict) (index . 2) $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of (list . component): the parts of a Deployment's pod that api and operator share. */}}
{{- define "backupexport.podSettings" -}}
{{- $ := index . 0 -}}
{{- $values := index $.Values (index . 1) -}}
serviceAccountName: {{ include "backupexport.fullname" $ }}-{{ index . 1 }}
automountServiceAccountToken: true
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
{{ include "backupexport.podSecurity" $ }}
{{- include "backupexport.scheduling" . }}
{{- end -}}

{{/* Of (list . component). */}}
{{- define "backupexport.scheduling" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $values $field }}
{{ $field }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of (list . component). */}}
{{- define "backupexport.topologySpread" -}}
{{- $ := index . 0 -}}
{{- $constraints := (index $.Values (index . 1)).topologySpreadConstraints -}}
topologySpreadConstraints:
{{- if kindIs "invalid" $constraints }}
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "backupexport.selectorLabels" . | nindent 8 }}
    # Or the old pods of a rolling update would count.
    matchLabelKeys: [pod-template-hash]
{{- else }} {{ toJson $constraints }}
{{- end }}
{{- end -}}

{{/* Where users find the api, without a slash at the end; empty where the chart can't know. */}}
{{- define "backupexport.publicUrl" -}}
{{- $named := list -}}
{{- range .Values.ingress.hosts }}{{ if not (hasPrefix "*" .) }}{{ $named = append $named . }}{{ end }}{{ end -}}
{{- if .Values.publicUrl -}}
{{- regexReplaceAll "/+$" .Values.publicUrl "" -}}
{{- else if and .Values.ingress.enabled $named -}}
{{- ternary "https" "http" (ne (len .Values.ingress.tls) 0) }}://{{ first $named -}}
{{- end -}}
{{- end -}}

{{- define "backupexport.leaseName" -}}
{{ include "backupexport.fullname" . }}-operator
{{- end -}}

{{/* What tells the replicas of the operator apart, in the Lease and in Events. */}}
{{- define "backupexport.podIdentity" -}}
- name: BACKUPEXPORT_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: BACKUPEXPORT_POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
{{- end -}}

{{/* Of (dict name value …): environment values, those without a value left out. */}}
{{- define "backupexport.env" -}}
- name: BACKUPEXPORT_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- range $name, $value := . }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- name: BACKUPEXPORT_{{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* JSON, or nothing for an empty list or object. As the kubelet would expand $(NAME) in it, a dollar
     sign is written as JSON's escape. */}}
{{- define "backupexport.json" -}}
{{- with . }}{{ toJson . | replace "$" "\\u0024" }}{{ end -}}
{{- end -}}

{{/* What the values say of the pods of all Jobs, as JSON of a partial PodTemplateSpec with the
     runner's container; runner.podTemplate wins. */}}
{{- define "backupexport.runnerPodTemplate" -}}
{{- $runner := .Values.runner -}}
{{- $given := deepCopy (default dict $runner.podTemplate) -}}
{{- $container := dict "name" "runner" "resources" (deepCopy (default dict $runner.resources)) -}}
{{- with $runner.image.pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end -}}
{{- range dig "spec" "containers" list $given }}{{ $container = mergeOverwrite $container . }}{{ end -}}
{{- $spec := include "backupexport.scheduling" (list . "runner") | fromYaml -}}
{{- $_ := set $spec "serviceAccountName" (printf "%s-runner" (include "backupexport.fullname" .)) -}}
{{- with .Values.imagePullSecrets }}{{ $_ := set $spec "imagePullSecrets" . }}{{ end -}}
{{- $metadata := dict "labels" (merge (dict) $runner.podLabels .Values.commonLabels) -}}
{{- with $runner.podAnnotations }}{{ $_ := set $metadata "annotations" (deepCopy .) }}{{ end -}}
{{- $template := mergeOverwrite (dict "metadata" $metadata "spec" $spec) $given -}}
{{- $_ := set $template.spec "containers" (list $container) -}}
{{- toJson $template -}}
{{- end -}}

{{/* The operator's setting of the same name. */}}
{{- define "backupexport.runnerPods" -}}
{{- $pods := dict "all" (include "backupexport.runnerPodTemplate" . | fromJson) -}}
{{- with .Values.runner.taskResources -}}
{{- $container := dict "name" "runner" "resources" . -}}
{{- $_ := set $pods "tasks" (dict "spec" (dict "containers" (list $container))) -}}
{{- end -}}
{{- include "backupexport.json" $pods -}}
{{- end -}}

{{/* The Secrets of the release's own, which no ExportTarget may name, as JSON. */}}
{{- define "backupexport.ownSecrets" -}}
{{- $names := list (include "backupexport.jwtSecretName" .) (include "backupexport.linksSecretName" .) (include "backupexport.valkeySecretName" .) -}}
{{- $names = append $names .Values.api.rateLimit.storageUrlSecret.name -}}
{{- range .Values.imagePullSecrets }}{{ $names = append $names .name }}{{ end -}}
{{- range dig "spec" "imagePullSecrets" list (default dict .Values.runner.podTemplate) }}{{ $names = append $names .name }}{{ end -}}
{{- range .Values.ingress.tls }}{{ $names = append $names .secretName }}{{ end -}}
{{- range .Values.deliveries }}{{ $names = append $names (dig "secretRef" "name" "" (default dict .)) }}{{ end -}}
{{- range .Values.storages }}{{ $names = append $names (dig "secretRef" "name" "" .) }}{{ end -}}
{{- compact $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Those of them that no Job mounts, as JSON. */}}
{{- define "backupexport.unmountedSecrets" -}}
{{- $names := include "backupexport.ownSecrets" . | fromJsonArray -}}
{{- range .Values.deliveries }}{{ $names = without $names (dig "secretRef" "name" "" (default dict .)) }}{{ end -}}
{{- range .Values.storages }}{{ $names = without $names (dig "secretRef" "name" "" .) }}{{ end -}}
{{- toJson $names -}}
{{- end -}}

{{- define "backupexport.targetName" -}}
{{- default (printf "target-%s" (sha256sum .projectId | trunc 16)) .name -}}
{{- end -}}

{{/* The name of a policy, which is the whole cluster's: each release has its own; of (list . what). */}}
{{- define "backupexport.policyName" -}}
{{- $ := index . 0 -}}
{{- printf "%s.%s.%s" $.Release.Namespace (include "backupexport.fullname" $) (index . 1) -}}
{{- end -}}

{{/* Whether a CustomResourceDefinition of this name is this release's own business; of (list . name). */}}
{{- define "backupexport.ownsCrd" -}}
{{- $ := index . 0 -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" (index . 1) -}}
{{- $annotations := dig "metadata" "annotations" (dict) $there -}}
{{- $mine := and (eq (get $annotations "meta.helm.sh/release-name") $.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") $.Release.Namespace) -}}
{{- if or (not $there) $mine $.Values.crds.adopt -}}yes{{- end -}}
{{- end -}}
