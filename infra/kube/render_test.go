package kube

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psapi "k8s.io/pod-security-admission/api"
	pspolicy "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func sandbox() infra.Sandbox {
	return infra.Sandbox{
		Ref:   infra.Ref{Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: 2, Org: "org_01jd3m0f9zq4x8v5c7n2b6k1tb"},
		Agent: "agt_01jd3m0f9zq4x8v5c7n2b6k1tc",
		Image: "agentmarket.local/hello" + digest, Command: []string{"/hello", "--mode=$(HOME)", "--flag"},
		Env: map[string]string{"MODE": "fast", "GREETING": "$(MODE) hello"}, Input: []byte(`{"prompt":"hello"}`),
		CPUMillis: 250, MemoryMiB: 128, DiskMiB: 64,
		StartTimeout: 2 * time.Minute, RunTimeout: 5 * time.Minute, Grace: 10 * time.Second,
	}
}

func config() Config {
	return Config{RuntimeImage: "agentmarket.local/agent-runtime" + digest}.WithDefaults()
}

// sandboxing is the configuration of a cluster with a sandboxed tier.
func sandboxing() Config {
	cfg := config()
	cfg.SandboxRuntimeClass = "gvisor"
	return cfg
}

// TestRenderGolden compares with testdata; -update rewrites it.
func TestRenderGolden(t *testing.T) {
	byCopy := config()
	byCopy.RuntimeByCopy = true
	gateway := config()
	gateway.GatewayURL = "http://10.96.0.42:3100"
	for name, cfg := range map[string]Config{"image-volume": config(), "copy": byCopy, "sandboxed": sandboxing(), "gateway": gateway, "egress": gateway, "secret-files": gateway, "user-namespace": config()} {
		t.Run(name, func(t *testing.T) {
			s := sandbox()
			s.Sandboxed = name == "sandboxed"
			s.Egress, s.SecretFiles, s.UserNamespace = name == "egress", name == "secret-files", name == "user-namespace"
			secret, job, err := render(s, cfg)
			require.NoError(t, err)
			var got []byte
			for _, object := range []any{secret, job} {
				text, err := yaml.Marshal(object)
				require.NoError(t, err)
				got = append(append(got, "---\n"...), text...)
			}
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o750))
				require.NoError(t, os.WriteFile(file, got, 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(string(want), string(got)), "an intended change: make golden")
		})
	}
}

// TestSandboxedOrNotAtAll: an attempt that is to be sandboxed never gets less, and
// one that is not is as without the tier.
func TestSandboxedOrNotAtAll(t *testing.T) {
	s := sandbox()
	_, plain, err := render(s, config())
	require.NoError(t, err)
	_, job, err := render(s, sandboxing())
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(plain, job))

	s.Sandboxed = true
	_, job, err = render(s, sandboxing())
	require.NoError(t, err)
	require.Equal(t, "gvisor", *job.Spec.Template.Spec.RuntimeClassName)
	_, _, err = render(s, config())
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}

// TestPodsMeetTheRestrictedStandard asks the checks that the API server itself
// runs.
func TestPodsMeetTheRestrictedStandard(t *testing.T) {
	evaluator, err := pspolicy.NewEvaluator(pspolicy.DefaultChecks(), nil)
	require.NoError(t, err)
	version, err := psapi.ParseVersion(podSecurityVersion)
	require.NoError(t, err)
	for _, byCopy := range []bool{false, true} {
		for _, v := range []psapi.Version{version, psapi.LatestVersion()} {
			cfg := config()
			cfg.RuntimeByCopy = byCopy
			pod := renderJob(sandbox(), cfg).Spec.Template
			results := evaluator.EvaluatePod(psapi.LevelVersion{Level: psapi.LevelRestricted, Version: v}, &pod.ObjectMeta, &pod.Spec)
			for _, r := range results {
				require.True(t, r.Allowed, "%s: %s", r.ForbiddenReason, r.ForbiddenDetail)
			}
			require.NotEmpty(t, results)
		}
	}
}

// TestPodsAreHardenedBeyondTheStandard: what restricted does not cover.
func TestPodsAreHardenedBeyondTheStandard(t *testing.T) {
	for _, byCopy := range []bool{false, true} {
		cfg := config()
		cfg.RuntimeByCopy = byCopy
		pod := renderJob(sandbox(), cfg).Spec.Template.Spec
		require.False(t, *pod.AutomountServiceAccountToken)
		require.False(t, *pod.EnableServiceLinks)
		require.Empty(t, pod.ServiceAccountName)
		require.Equal(t, corev1.DNSNone, pod.DNSPolicy)
		require.Equal(t, corev1.RestartPolicyNever, pod.RestartPolicy)
		require.Nil(t, pod.HostUsers, "where nobody saw that nodes can")
		require.NotNil(t, pod.ActiveDeadlineSeconds)
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, c.Name)
			require.True(t, *c.SecurityContext.RunAsNonRoot, c.Name)
			require.Empty(t, c.EnvFrom, c.Name)
			for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
				limit := c.Resources.Limits[r]
				require.False(t, limit.IsZero(), "%s has no limit for %s", c.Name, r)
				require.Equal(t, c.Resources.Limits[r], c.Resources.Requests[r], "%s %s", c.Name, r)
			}
			require.Contains(t, c.Image, "@sha256:")
		}
		for _, v := range pod.Volumes {
			if v.EmptyDir != nil {
				require.NotNil(t, v.EmptyDir.SizeLimit, v.Name)
			}
		}
	}
}

// TestDeadlinesNest: supervisor, kubelet, Job controller, in this order.
func TestDeadlinesNest(t *testing.T) {
	s := sandbox()
	job := renderJob(s, config())
	inner := s.StartTimeout + s.RunTimeout + s.Grace
	pod := time.Duration(*job.Spec.Template.Spec.ActiveDeadlineSeconds) * time.Second
	outer := time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second
	require.Less(t, inner, pod)
	require.Less(t, pod, outer)
	require.NotNil(t, job.Spec.TTLSecondsAfterFinished)
	require.Zero(t, *job.Spec.BackoffLimit)
}

func TestHashChangesWithWhatRuns(t *testing.T) {
	hash := func(change func(*infra.Sandbox)) string {
		s := sandbox()
		change(&s)
		_, job, err := render(s, config())
		require.NoError(t, err)
		return job.Annotations[annotationSpecHash]
	}
	same := hash(func(*infra.Sandbox) {})
	require.Equal(t, same, hash(func(*infra.Sandbox) {}))
	require.NotEqual(t, same, hash(func(s *infra.Sandbox) { s.Input = []byte(`{}`) }))
	require.NotEqual(t, same, hash(func(s *infra.Sandbox) { s.Command = []string{"/other"} }))
}

func TestRefOfReadsOnlyOurLabels(t *testing.T) {
	ref := infra.Ref{Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 3}
	labels := labelsOf(infra.Sandbox{Ref: ref})
	got, ok := refOf(labels)
	require.True(t, ok)
	require.Equal(t, ref, got)
	for _, bad := range []map[string]string{nil, {labelRun: "run_x", labelAttempt: "1"}, {labelRun: labels[labelRun], labelAttempt: "0"}} {
		_, ok := refOf(bad)
		require.False(t, ok)
	}
}

func TestTrimKeepsWhatIsRead(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: labelsOf(sandbox()), ManagedFields: []metav1.ManagedFieldsEntry{{}}},
		Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: containerAgent}}},
		Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", ContainerStatuses: []corev1.ContainerStatus{
			{Name: containerAgent, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}},
		}},
	}
	before := observePod(pod)
	trimmed, err := trim(pod)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(before, observePod(trimmed.(*corev1.Pod))))
	require.Nil(t, pod.ManagedFields)
	require.Empty(t, pod.Spec.Containers)
}
