package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/internal/testenv"
	"agentmarket/product"
)

// TestReconcile: what somebody did by hand, and what nobody knows of any more, is put
// right by the next reconciliation, and the numbers are back at 0 after it.
func TestReconcile(t *testing.T) {
	beside(t)
	metrics := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	s := Start(t, "AGENTMARKET_RECONCILE_SECONDS=2", "AGENTMARKET_METRICS_LISTEN="+metrics, "AGENTMARKET_QUOTA_RUNS=10")
	s.untilNamespace(t)
	stray := s.strayJob(t)

	run := s.startRun(t, "hello", map[string]any{"prompt": "x", "sleep_seconds": 600})
	s.untilRunning(t, run.ID)
	require.NoError(t, s.temporal.TerminateWorkflow(t.Context(), run.ID, "", "by hand"))
	ended := s.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "failed", ended.Status)
	require.Equal(t, "platform_error", ended.Reason)
	require.Equal(t, "the workflow of the run was ended from outside", ended.Message)
	require.Eventually(t, func() bool { return len(s.jobs(t, run.ID)) == 0 && len(s.pods(t, run.ID)) == 0 },
		time.Minute, 100*time.Millisecond, "its attempt is ended")

	require.Eventually(t, func() bool {
		_, err := s.Kube.BatchV1().Jobs(s.Namespace).Get(t.Context(), stray.Name, metav1.GetOptions{})
		return err != nil
	}, time.Minute, 100*time.Millisecond, "a Job of no run is deleted")
	_, usage, err := s.db.Product().Limits(t.Context(), []product.Scope{{Kind: product.ScopeQuota, ID: string(s.org.ID)}}, time.Now())
	require.NoError(t, err)
	require.Zero(t, usage[0].Running, "its slot is free")

	require.Eventually(t, func() bool {
		text := s.scrape(t, metrics)
		for _, name := range []string{"orphan_jobs", "zombie_runs", "leaked_slots", "leaked_holds"} {
			if !containsLine(text, "agentmarket_"+name+" 0") {
				return false
			}
		}
		return containsLine(text, `agentmarket_reconciled_total{part="zombie_runs"} 1`) &&
			containsLine(text, `agentmarket_reconciled_total{part="orphan_jobs"} 1`)
	}, time.Minute, 200*time.Millisecond, "nothing is wrong any more")

	// A run that Temporal was told of, and does not know, begins from its record.
	s.temporalServer.Kill()
	lost := s.startRun(t, "hello", map[string]any{"prompt": "found again"})
	record, err := s.db.Runs().Run(t.Context(), ids.Run(lost.ID))
	require.NoError(t, err)
	require.NoError(t, s.db.Runs().Dispatched(t.Context(), record))
	s.startTemporal(t)
	found := s.untilEnded(t, lost.ID, time.Minute)
	require.Equal(t, "succeeded", found.Status, found.Message)
}

// containsLine reports whether a text has such a line.
func containsLine(text, line string) bool { return strings.Contains("\n"+text, "\n"+line+"\n") }

// strayJob makes a Job like the platform does, of a run that does not exist.
func (s *Stack) strayJob(t *testing.T) *batchv1.Job {
	t.Helper()
	ref := infra.Ref{Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 1}
	labels := map[string]string{
		"app.kubernetes.io/managed-by": "agentmarket", "agentmarket.dev/run-id": string(ref.Run), "agentmarket.dev/attempt": "1",
	}
	job, err := s.Kube.BatchV1().Jobs(s.Namespace).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: ref.Name(), Labels: labels},
		Spec: batchv1.JobSpec{Suspend: new(true), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: s.Images["hello"]}}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return job
}

func (s *Stack) scrape(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}
