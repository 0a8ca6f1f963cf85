package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"agentmarket/e2e"
	"agentmarket/internal/simulate"
	"agentmarket/internal/testenv"
)

func TestMain(m *testing.M) {
	simulate.Main()
	testenv.Main(m)
}

// BenchmarkRunLatency compares a whole run, from the POST with Prefer: wait to
// the answer with the result, with a bare Pod (create to Succeeded, seen by a
// watch) and a bare Job (create to Complete, seen by a watch) of the same image; and
// with a run that finds a pod ready.
// They alternate, so that whatever else the computer does hits all alike.
func BenchmarkRunLatency(b *testing.B) {
	s := e2e.Start(b, e2e.WarmPods)
	makeBareNamespace(b, s)
	kinds := []struct {
		name   string
		before func(testing.TB) // not measured
		once   func(testing.TB, *e2e.Stack, int)
	}{
		{"bare Pod", nil, barePod},
		{"bare Job", nil, bareJob},
		{"agent run", func(t testing.TB) { s.KeepWarm(t, 0) }, agentRun},
		{"agent run, warm", func(t testing.TB) { s.KeepWarm(t, 2); s.UntilWarm(t, 1) }, agentRun},
	}
	s.KeepWarm(b, 2)
	for _, kind := range kinds[:3] { // images, caches, connections; the run makes the next one warm
		kind.once(b, s, -1)
	}
	samples := make([][]time.Duration, len(kinds))
	n := 0
	for b.Loop() {
		for i, kind := range kinds {
			if kind.before != nil {
				kind.before(b)
			}
			began := time.Now()
			kind.once(b, s, n)
			samples[i] = append(samples[i], time.Since(began))
		}
		n++
	}
	fmt.Printf("\n| what | samples | p50 | p90 | p50 ratio to the Pod |\n|---|---|---|---|---|\n")
	base := quantile(samples[0], 0.5)
	for i, kind := range kinds {
		p50 := quantile(samples[i], 0.5)
		fmt.Printf("| %s | %d | %.2f s | %.2f s | %.2f |\n", kind.name, len(samples[i]),
			p50.Seconds(), quantile(samples[i], 0.9).Seconds(), p50.Seconds()/base.Seconds())
	}
	cold, warm := quantile(samples[2], 0.5).Seconds()/base.Seconds(), quantile(samples[3], 0.5).Seconds()/base.Seconds()
	b.ReportMetric(cold, "ratio-to-pod")
	b.ReportMetric(warm, "warm-ratio-to-pod")
	if cold > 0.6 || warm > 0.25 {
		b.Errorf("%.2f of the Pod, %.2f warm: more than 0.6 and 0.25", cold, warm)
	}
	b.ReportMetric(0, "ns/op") // the sum of all says nothing
}

func quantile(samples []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func agentRun(t testing.TB, s *e2e.Stack, n int) {
	status, body := s.Call(t, http.MethodPost, "/v1/agents/examples/wordcount/runs", map[string]string{"Prefer": "wait=60"},
		map[string]any{"input": map[string]any{"text": fmt.Sprint(n)}})
	var run struct{ Status string }
	require.NoError(t, json.Unmarshal(body, &run))
	require.Equal(t, http.StatusCreated, status, "%s", body)
	require.Equal(t, "succeeded", run.Status)
}

// template is a pod of the same image without the platform. It does less than
// the agent, which reads its input with a shell script: the comparison is not in
// the platform's favour.
func template(s *e2e.Stack) corev1.PodTemplateSpec {
	yes, no, user := true, false, int64(65532)
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: "bare", Image: s.Images["wordcount"], Command: []string{"/bin/busybox", "echo", "hello"},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		}},
	}}
}

// bareNamespace is where pods run that are not the platform's: in the namespaces of
// runs no others are admitted.
const bareNamespace = "bench-bare"

func makeBareNamespace(b *testing.B, s *e2e.Stack) {
	b.Helper()
	namespaces := s.Kube.CoreV1().Namespaces()
	_, err := namespaces.Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bareNamespace}}, metav1.CreateOptions{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = namespaces.Delete(context.Background(), bareNamespace, metav1.DeleteOptions{}) })
	require.Eventually(b, func() bool {
		_, err := s.Kube.CoreV1().ServiceAccounts(bareNamespace).Get(b.Context(), "default", metav1.GetOptions{})
		return err == nil
	}, time.Minute, 50*time.Millisecond, "pods can be made in it")
}

func barePod(t testing.TB, s *e2e.Stack, n int) {
	pods := s.Kube.CoreV1().Pods(bareNamespace)
	name := fmt.Sprintf("bare-pod-%d", n+1)
	events, err := pods.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(t, err)
	defer events.Stop()
	_, err = pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: template(s).Spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	until(t, events, func(o any) bool {
		p, ok := o.(*corev1.Pod)
		return ok && p.Status.Phase == corev1.PodSucceeded
	})
	t.Cleanup(func() { _ = pods.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

func bareJob(t testing.TB, s *e2e.Stack, n int) {
	jobs := s.Kube.BatchV1().Jobs(bareNamespace)
	name := fmt.Sprintf("bare-job-%d", n+1)
	events, err := jobs.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(t, err)
	defer events.Stop()
	_, err = jobs.Create(t.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{Template: template(s)}}, metav1.CreateOptions{})
	require.NoError(t, err)
	until(t, events, func(o any) bool {
		job, ok := o.(*batchv1.Job)
		if !ok {
			return false
		}
		return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
		})
	})
}

func until(t testing.TB, events watch.Interface, done func(any) bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case event, open := <-events.ResultChan():
			require.True(t, open, "the watch ended early")
			if done(event.Object) {
				return
			}
		case <-deadline:
			t.Fatal("did not end within two minutes")
		}
	}
}
