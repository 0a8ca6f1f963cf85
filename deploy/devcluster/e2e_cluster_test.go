//go:build e2e

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// namespace enforces the restricted Pod Security Standard.
const namespace = "agents"

// podDeadline is how long the tests wait for a pod; it normally takes 2 to 3 s.
const podDeadline = 60 * time.Second

// testCluster drives one cluster through the command line and client-go.
type testCluster struct {
	bin    string
	state  string
	client *kubernetes.Clientset
	image  string // the probe, as NAME@sha256:…
	data   string // an image with /hello.txt
}

func (c testCluster) command(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(c.bin, "devcluster"), append(args, "--state", c.state)...)
}

func (c testCluster) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := c.command(args...)
	var progress strings.Builder
	cmd.Stderr = &progress
	out, err := cmd.Output()
	require.NoError(t, err, "devcluster %s: %s", strings.Join(args, " "), progress.String())
	return string(out)
}

func (c testCluster) timed(t *testing.T, what string, args ...string) {
	t.Helper()
	began := time.Now()
	c.run(t, args...)
	t.Logf("%s: %s", what, time.Since(began).Round(10*time.Millisecond))
}

func (c testCluster) kubectl(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, "kubectl"), append([]string{"--namespace", namespace}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(c.state, "kubeconfig"))
	return cmd
}

func (c testCluster) observe(t *testing.T) clusterStatus {
	t.Helper()
	// The exit code is 1 while a component is not ready; the output says which.
	out, _ := c.command("status", "--json").Output()
	return decode[clusterStatus](t, out)
}

func (c testCluster) component(t *testing.T, name string) status {
	t.Helper()
	all := c.observe(t).Components
	i := slices.IndexFunc(all, func(s status) bool { return s.Name == name })
	require.GreaterOrEqual(t, i, 0, "component %s is listed", name)
	return all[i]
}

func (c testCluster) phase(t *testing.T, name string) phase {
	t.Helper()
	return c.component(t, name).Phase
}

// connect makes the client and the namespace of the tests.
func (c *testCluster) connect(t *testing.T) {
	t.Helper()
	client, err := adminClient(layoutOf(t, *c))
	require.NoError(t, err)
	c.client = client
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   namespace,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	}, 20*time.Second, 50*time.Millisecond, "the namespace has its service account")
}

// loadImages builds the probe and a data image and loads both.
func (c testCluster) loadImages(t *testing.T) (probe, data string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	hello := filepath.Join(dir, "hello.txt")
	require.NoError(t, os.WriteFile(hello, []byte("hello from a volume\n"), 0o644))

	probe = c.loadImage(t, "--name", "agentmarket.local/e2e/probe:1", "--file", program+":/probe", "--entrypoint", "/probe")
	data = c.loadImage(t, "--name", "agentmarket.local/e2e/data:1", "--file", hello+":/hello.txt")
	return probe, data
}

func (c testCluster) loadImage(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	built := strings.TrimSpace(c.run(t, append([]string{"image", "--out", file}, args...)...))
	for range 2 { // the second time it is there already
		began := time.Now()
		require.Equal(t, built, strings.TrimSpace(c.run(t, "load", file)))
		t.Logf("load of %s: %s", built, time.Since(began).Round(10*time.Millisecond))
	}
	return built
}

// pod is hardened as the restricted standard asks, and runs the probe.
func (c testCluster) pod(name string, args ...string) *corev1.Pod {
	pod := smokePod()
	pod.ObjectMeta = metav1.ObjectMeta{Name: name}
	user := int64(65532)
	grace := int64(1)
	pod.Spec.SecurityContext.RunAsUser = &user
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.Containers[0].Image = c.image
	pod.Spec.Containers[0].Args = args
	return pod
}

func (c testCluster) withArgs(pod *corev1.Pod, name string, args ...string) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.Name = name
	pod.Spec.Containers[0].Args = args
	return pod
}

func (c testCluster) create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	_, err := c.client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
}

// start creates a pod and returns it when it runs.
func (c testCluster) start(t *testing.T, name string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	c.create(t, pod)
	c.await(t, name, corev1.PodRunning)
	return c.get(t, name)
}

func (c testCluster) get(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	pod, err := c.client.CoreV1().Pods(namespace).Get(context.Background(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return pod
}

func (c testCluster) delete(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, c.client.CoreV1().Pods(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := c.client.CoreV1().Pods(namespace).Get(context.Background(), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, podDeadline, 50*time.Millisecond, "the pod goes")
}

func (c testCluster) await(t *testing.T, name string, want corev1.PodPhase) {
	t.Helper()
	why := ""
	defer func() {
		if t.Failed() {
			t.Logf("pod %s: %s", name, why)
		}
	}()
	require.Eventually(t, func() bool {
		now, err := c.client.CoreV1().Pods(namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			why = err.Error()
			return false
		}
		why = podTrouble(now)
		return now.Status.Phase == want
	}, podDeadline, 20*time.Millisecond, "pod %s is %s", name, want)
}

func (c testCluster) logs(t *testing.T, pod string) string {
	t.Helper()
	stream, err := c.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).Stream(t.Context())
	require.NoError(t, err)
	defer stream.Close()
	raw, err := io.ReadAll(stream)
	require.NoError(t, err)
	return string(raw)
}

func (c testCluster) createJob(t *testing.T, name string, pod *corev1.Pod) *batchv1.Job {
	t.Helper()
	once := int32(0)
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       batchv1.JobSpec{BackoffLimit: &once, Template: corev1.PodTemplateSpec{Spec: pod.Spec}},
	}
	if name == "speed" {
		job.ObjectMeta = metav1.ObjectMeta{GenerateName: name + "-"}
	}
	job, err := c.client.BatchV1().Jobs(namespace).Create(t.Context(), job, metav1.CreateOptions{})
	require.NoError(t, err)
	return job
}

func (c testCluster) awaitJob(t *testing.T, name string) {
	t.Helper()
	require.Eventually(t, func() bool {
		job, err := c.client.BatchV1().Jobs(namespace).Get(context.Background(), name, metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(job.Status.Conditions, func(condition batchv1.JobCondition) bool {
			return condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue
		})
	}, podDeadline, 20*time.Millisecond, "job %s completes", name)
}

func (c testCluster) podOf(t *testing.T, job string) string {
	t.Helper()
	pods, err := c.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=" + job})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	return pods.Items[0].Name
}

func (c testCluster) awaitRunning(t *testing.T, job string) {
	t.Helper()
	require.Eventually(t, func() bool {
		job, err := c.client.BatchV1().Jobs(namespace).Get(context.Background(), job, metav1.GetOptions{})
		return err == nil && job.Status.Ready != nil && *job.Status.Ready == 1
	}, podDeadline, 20*time.Millisecond, "the job's pod runs")
}

// killProcesses sends SIGKILL to the cluster's processes that are picked.
func (c testCluster) killProcesses(t *testing.T, pick func(process) bool) {
	t.Helper()
	all, err := clusterProcesses(layoutOf(t, c).ID)
	require.NoError(t, err)
	picked := slices.DeleteFunc(all, func(p process) bool { return !pick(p) })
	require.NotEmpty(t, picked)
	// The supervisor first: it would start the others again.
	slices.SortFunc(picked, func(a, b process) int {
		switch {
		case a.name == "supervise":
			return -1
		case b.name == "supervise":
			return 1
		}
		return 0
	})
	require.NoError(t, killProcesses(picked, 10*time.Second))
}
