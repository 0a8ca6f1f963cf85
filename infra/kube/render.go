package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
)

const (
	// agentUser is the user and group of every agent; images need not know it.
	agentUser int64 = 65532

	// logAllowanceMiB is added to the disk limit: the kubelet counts a
	// container's log as its ephemeral storage.
	logAllowanceMiB = 64

	// podMargin and jobMargin keep the outer deadlines behind the inner ones:
	// the supervisor ends the agent with a proper envelope; the kubelet ends a
	// pod whose supervisor failed to; the Job controller ends what never got a
	// pod, even when the rest of the platform is gone.
	podMargin = agentruntime.FinishTime + 10*time.Second
	jobMargin = podMargin + 2*time.Minute
)

// render returns the objects of one attempt. It is pure: the same sandbox and
// configuration give the same objects, and their hash is on the Job.
func render(s infra.Sandbox, cfg Config) (*corev1.Secret, *batchv1.Job, error) {
	if s.Sandboxed && cfg.SandboxRuntimeClass == "" {
		// Never a weaker one instead. A worker that is configured may come.
		return nil, nil, fault.Newf(fault.Unavailable, "", "%s is to be sandboxed, and this worker has no runtime class for it", s.Name())
	}
	secret := renderInput(s, cfg)
	job := renderJob(s, cfg)
	spec := job.Spec
	spec.Template.Spec.HostUsers = nil // the doctor may have found it out meanwhile
	content, err := json.Marshal(struct {
		Spec  batchv1.JobSpec
		Input []byte
	}{spec, s.Input})
	if err != nil {
		return nil, nil, fmt.Errorf("hash job %s: %w", s.Name(), err)
	}
	sum := sha256.Sum256(content)
	job.Annotations = annotationsOf(s)
	job.Annotations[annotationSpecHash] = hex.EncodeToString(sum[:])
	return secret, job, nil
}

// renderInput carries the input as a file. Immutable: the kubelet reads it once
// and does not watch it.
func renderInput(s infra.Sandbox, cfg Config) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name(), Namespace: cfg.NamespaceOf(s.Ref), Labels: labelsOf(s)},
		Immutable:  new(true),
		Data:       map[string][]byte{inputKey: s.Input},
	}
}

func renderJob(s infra.Sandbox, cfg Config) *batchv1.Job {
	life := s.StartTimeout + s.RunTimeout + s.Grace
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name(), Namespace: cfg.NamespaceOf(s.Ref), Labels: labelsOf(s)},
		Spec: batchv1.JobSpec{
			Parallelism: new(int32(1)),
			Completions: new(int32(1)),
			// Temporal is the only retry owner: the Job runs one pod, once.
			BackoffLimit:         new(int32(0)),
			PodReplacementPolicy: new(batchv1.Failed),
			// The rules keep the message of the failure on the Job after the
			// pod is gone; nothing is ever rerun by them.
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				{
					Action: batchv1.PodFailurePolicyActionFailJob,
					OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
						{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
					},
				},
				{
					Action: batchv1.PodFailurePolicyActionFailJob,
					OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
						ContainerName: new(containerAgent),
						Operator:      batchv1.PodFailurePolicyOnExitCodesOpNotIn,
						Values:        []int32{0},
					},
				},
			}},
			ActiveDeadlineSeconds:   new(wholeSeconds(life + jobMargin)),
			TTLSecondsAfterFinished: new(int32(wholeSeconds(cfg.JobTTL))),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labelsOf(s), Annotations: annotationsOf(s)},
				Spec:       renderPod(s, cfg, life),
			},
		},
	}
}

// renderPod is the hardened pod: restricted Pod Security and what that leaves
// open (no token, no service links, no DNS, read-only root, limits for all).
func renderPod(s infra.Sandbox, cfg Config, life time.Duration) corev1.PodSpec {
	disk := resource.NewQuantity(s.DiskMiB<<20, resource.BinarySI)
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		ActiveDeadlineSeconds:         new(wholeSeconds(life + podMargin)),
		TerminationGracePeriodSeconds: new(wholeSeconds(s.Grace + agentruntime.FinishTime)),
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		// A resolver that nobody answers: an agent reaches what its plan grants
		// through the platform, and open DNS is a way out for data.
		DNSPolicy: corev1.DNSNone,
		DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"127.0.0.1"}},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:             new(true),
			RunAsUser:                new(agentUser),
			RunAsGroup:               new(agentUser),
			FSGroup:                  new(agentUser),
			SupplementalGroupsPolicy: new(corev1.SupplementalGroupsPolicyStrict),
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name:    containerAgent,
			Image:   s.Image,
			Command: supervisorCommand(s, cfg),
			Env:     environment(s.Env),
			// Digest-pinned, so what is present is what was asked for.
			ImagePullPolicy:          corev1.PullIfNotPresent,
			TerminationMessagePath:   corev1.TerminationMessagePathDefault,
			TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			WorkingDir:               agentruntime.WorkDir,
			Resources:                renderResources(s),
			SecurityContext:          hardened(),
			VolumeMounts: []corev1.VolumeMount{
				{Name: "runtime", MountPath: agentruntime.RuntimeDir, ReadOnly: true},
				{Name: volumeInput, MountPath: agentruntime.InputDir, ReadOnly: true},
				{Name: "work", MountPath: agentruntime.WorkDir},
				{Name: "tmp", MountPath: agentruntime.TempDir},
			},
		}},
		Volumes: []corev1.Volume{
			{Name: volumeInput, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: s.Name(), DefaultMode: new(int32(0o440)),
			}}},
			{Name: "work", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: disk}}},
			{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: disk}}},
		},
	}
	if cfg.GatewayURL != "" {
		addToken(&spec)
	}
	if s.SecretFiles {
		addSecrets(&spec)
	}
	if s.UserNamespace {
		spec.HostUsers = new(false)
	}
	if s.Sandboxed {
		spec.RuntimeClassName = &cfg.SandboxRuntimeClass
	}
	if len(s.AvoidNodes) > 0 {
		spec.Affinity = avoiding(s.AvoidNodes)
	}
	addRuntime(&spec, cfg)
	return spec
}

// tokenLife is how long a token of the gateway is good. The kubelet replaces it in time
// while the pod runs; the API server gives no shorter one.
const tokenLife = 10 * time.Minute

// addToken gives the pod its one credential: a token that says which pod it is, to the
// gateway and to nobody else.
func addToken(spec *corev1.PodSpec) {
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeToken, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: new(int32(0o440)),
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: Audience, ExpirationSeconds: new(wholeSeconds(tokenLife)), Path: agentruntime.TokenName,
			}}},
		},
	}})
	agent := &spec.Containers[0]
	agent.VolumeMounts = append(agent.VolumeMounts, corev1.VolumeMount{Name: volumeToken, MountPath: agentruntime.TokenDir, ReadOnly: true})
}

// addSecrets gives the pod a place in memory for secrets, which the supervisor fetches.
// Kubernetes never has them.
func addSecrets(spec *corev1.PodSpec) {
	size := resource.MustParse("1Mi")
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeSecrets, VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size},
	}})
	agent := &spec.Containers[0]
	agent.VolumeMounts = append(agent.VolumeMounts, corev1.VolumeMount{Name: volumeSecrets, MountPath: agentruntime.SecretsDir})
}

// avoiding prefers every other node to these. It does not forbid them: in a small
// cluster there may be no other.
func avoiding(nodes []string) *corev1.Affinity {
	others := make([]corev1.NodeSelectorRequirement, len(nodes))
	for i, node := range nodes { // one value each is all that the API takes
		others[i] = corev1.NodeSelectorRequirement{
			Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpNotIn, Values: []string{node},
		}
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
			Weight: 100, Preference: corev1.NodeSelectorTerm{MatchFields: others},
		}},
	}}
}

// addRuntime puts the supervisor into the pod.
func addRuntime(spec *corev1.PodSpec, cfg Config) {
	if !cfg.RuntimeByCopy {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "runtime", VolumeSource: corev1.VolumeSource{
			Image: &corev1.ImageVolumeSource{Reference: cfg.RuntimeImage, PullPolicy: corev1.PullIfNotPresent},
		}})
		return
	}
	size := resource.MustParse("32Mi")
	// A field that older nodes do not know either: they would refuse the pod.
	spec.SecurityContext.SupplementalGroupsPolicy = nil
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "runtime", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size},
	}})
	small := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("32Mi"),
	}
	spec.InitContainers = []corev1.Container{{
		Name:                     containerInstall,
		Image:                    cfg.RuntimeImage,
		Command:                  []string{"/agent-runtime", "install", agentruntime.RuntimeDir},
		ImagePullPolicy:          corev1.PullIfNotPresent,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		Resources:                corev1.ResourceRequirements{Requests: small, Limits: small},
		SecurityContext:          hardened(),
		VolumeMounts:             []corev1.VolumeMount{{Name: "runtime", MountPath: agentruntime.RuntimeDir}},
	}}
}

func hardened() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		Privileged:               new(false),
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		RunAsNonRoot:             new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// renderResources sets requests equal to limits: what was sold is what is held.
func renderResources(s infra.Sandbox) corev1.ResourceRequirements {
	list := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewMilliQuantity(s.CPUMillis, resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(s.MemoryMiB<<20, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity((s.DiskMiB+logAllowanceMiB)<<20, resource.BinarySI),
	}
	return corev1.ResourceRequirements{Requests: list, Limits: maps.Clone(list)}
}

// environment renders the manifest's constants in a stable order.
func environment(env map[string]string) []corev1.EnvVar {
	var vars []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(env)) {
		vars = append(vars, corev1.EnvVar{Name: name, Value: escapeExpansion(env[name])})
	}
	return vars
}

func wholeSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}
