package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/infra"
)

func pulling() Config {
	cfg := warming()
	cfg.PullNodes, cfg.SandboxRuntimeClass = 3, "gvisor"
	return cfg
}

// TestPullIsAsHardened: its pods are those of an attempt that has nothing: no command of
// the agent, no input, no token, no constants.
func TestPullIsAsHardened(t *testing.T) {
	cfg := pulling()
	for name, change := range map[string]func(*infra.Sandbox){
		"standard":        func(*infra.Sandbox) {},
		"sandboxed":       func(s *infra.Sandbox) { s.Sandboxed = true },
		"user namespaces": func(s *infra.Sandbox) { s.UserNamespace = true },
		"secret files":    func(s *infra.Sandbox) { s.SecretFiles = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := wanting(runA)
			change(&s)
			_, job, err := render(s, cfg)
			require.NoError(t, err)
			pull := renderPull(s, cfg)
			require.Equal(t, job.Namespace, pull.Namespace)
			_, isOfARun := refOf(pull.Labels)
			require.False(t, isOfARun)
			require.NotContains(t, pull.Spec.Template.Labels, labelWarm)

			want, got := job.Spec.Template.Spec, pull.Spec.Template.Spec
			require.Equal(t, want.Containers[0].Image, got.Containers[0].Image)
			require.Equal(t, want.Containers[0].SecurityContext, got.Containers[0].SecurityContext)
			require.Equal(t, want.SecurityContext, got.SecurityContext)
			require.Equal(t, want.AutomountServiceAccountToken, got.AutomountServiceAccountToken)
			require.Equal(t, want.RuntimeClassName, got.RuntimeClassName)
			require.Equal(t, want.HostUsers, got.HostUsers)
			require.Equal(t, want.DNSConfig, got.DNSConfig)
			require.Len(t, got.Containers[0].Command, 2, "the supervisor, that ends at once")
			require.Empty(t, got.Containers[0].Env)
			for _, v := range got.Volumes {
				require.Nil(t, v.Secret)
				require.Nil(t, v.Projected)
			}
			require.Len(t, got.Volumes, 3)
			require.Len(t, got.Containers[0].VolumeMounts, 3)
			require.EqualValues(t, 3, *pull.Spec.Completions)
			require.NotEmpty(t, got.TopologySpreadConstraints)
		})
	}
}

func TestPullOnce(t *testing.T) {
	c, client := cluster(t, pulling())
	other := wanting(runB)
	other.Command, other.MemoryMiB, other.Org = []string{"/x"}, 512, "org_01jd3m0f9zq4x8v5c7n2b6k1tz"
	another := wanting(runA)
	another.Image = "other" + digest
	for _, s := range []infra.Sandbox{wanting(runA), wanting(runB), other, another} {
		require.NoError(t, c.pull(t.Context(), s))
	}
	jobs, err := client.BatchV1().Jobs("").List(t.Context(), metav1.ListOptions{LabelSelector: labelPull})
	require.NoError(t, err)
	require.Len(t, jobs.Items, 2, "one for each image")

	c.cfg.PullNodes = 0
	another.Image = "third" + digest
	require.NoError(t, c.pull(t.Context(), another))
	jobs, err = client.BatchV1().Jobs("").List(t.Context(), metav1.ListOptions{LabelSelector: labelPull})
	require.NoError(t, err)
	require.Len(t, jobs.Items, 2)
}
