package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/marketplace"
)

// WarmPods makes the platform allow warm pods; KeepWarm makes the organization want them.
const WarmPods = "AGENTMARKET_WARM_PODS=3"

// PullNodes makes the platform pull images ahead.
const PullNodes = "AGENTMARKET_WARM_PULL_NODES=2"

// KeepWarm sets the policy of the organization of the examples.
func (s *Stack) KeepWarm(t testing.TB, n int) {
	t.Helper()
	rules := map[string]any{}
	if n > 0 {
		rules["warm"] = n
	}
	admin := s.as(s.key(t, s.org, marketplace.RoleAdmin, marketplace.AllScopes()))
	status, body := admin.Call(t, http.MethodPut, "/v1/organizations/examples/policy", nil, rules)
	require.Equal(t, http.StatusOK, status, "%s", body)
}

// UntilWarm waits until so many pods are ready for a run, and returns them.
func (s *Stack) UntilWarm(t testing.TB, n int) []corev1.Pod {
	t.Helper()
	var ready []corev1.Pod
	require.Eventually(t, func() bool {
		list, err := s.Kube.CoreV1().Pods(s.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "agentmarket.dev/warm"})
		require.NoError(t, err)
		ready = nil
		for _, pod := range list.Items {
			if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				ready = append(ready, pod)
			}
		}
		return len(ready) >= n
	}, time.Minute, 50*time.Millisecond, "pods are ready")
	return ready
}
