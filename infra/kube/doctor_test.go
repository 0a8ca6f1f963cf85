package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

// TestFingerprint: another namespace of runs is another cluster; namespaces of
// organizations come and go.
func TestFingerprint(t *testing.T) {
	of := func(cfg Config, uid string) (string, error) {
		client := fake.NewClientset()
		if uid != "" {
			_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
				ObjectMeta: metav1.ObjectMeta{Name: "agentmarket-runs", UID: types.UID(uid)},
			}, metav1.CreateOptions{})
			require.NoError(t, err)
		}
		return NewDoctor(client, nil, cfg.WithDefaults(), "").Fingerprint(t.Context())
	}
	_, err := of(Config{}, "")
	require.Error(t, err, "the namespace is not there yet")
	one, err := of(Config{}, "1")
	require.NoError(t, err)
	again, err := of(Config{}, "1")
	require.NoError(t, err)
	require.Equal(t, one, again)
	another, err := of(Config{}, "2")
	require.NoError(t, err)
	require.NotEqual(t, one, another)
	other, err := of(Config{SandboxRuntimeClass: "gvisor"}, "1")
	require.NoError(t, err)
	require.NotEqual(t, one, other)
	first, err := of(Config{NamespacePer: PerOrganization}, "")
	require.NoError(t, err)
	require.NotEqual(t, one, first)
}
