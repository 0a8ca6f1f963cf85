//go:build e2e

package main

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestClusters runs two clusters side by side with the built programs, and takes
// them through what development and failure tests rely on. It needs root and
// takes about two minutes: go test -tags e2e -timeout 20m .
func TestClusters(t *testing.T) {
	bin := buildPrograms(t)
	before, alone := sysctls(t)
	a := testCluster{bin: bin, state: filepath.Join(scratch(t), "a")}
	// Longer than the sockets that the kubelet makes in its folder allow.
	const long = "a-state-folder-whose-path-is-so-long-that-the-sockets-of-the-kubelet-do-not-fit"
	b := testCluster{bin: bin, state: filepath.Join(scratch(t), long)}
	t.Cleanup(func() {
		for _, c := range []testCluster{a, b} {
			if out, err := c.command("down", "--purge").CombinedOutput(); err != nil {
				t.Logf("take down after test: %v: %s", err, out)
			}
		}
	})

	a.timed(t, "first up", "up", "--name", "one")
	b.timed(t, "first up of the second cluster", "up", "--name", "two", "--gateway-port", "3200")
	a.timed(t, "up of a running cluster", "up")
	a.connect(t)
	b.connect(t)
	a.image, a.data = a.loadImages(t)
	b.image, b.data = b.loadImages(t)
	require.Equal(t, a.image, b.image, "the same files make the same image")

	t.Run("hardened job", func(t *testing.T) { testHardenedJob(t, a) })
	t.Run("image volume", func(t *testing.T) { testImageVolume(t, a) })
	t.Run("unknown image", func(t *testing.T) { testUnknownImage(t, a) })
	t.Run("isolation", func(t *testing.T) { testIsolation(t, a, b) })
	t.Run("logs", func(t *testing.T) { testLogs(t, a) })
	t.Run("pod security", func(t *testing.T) { testPodSecurity(t, a) })
	t.Run("apiserver outage", func(t *testing.T) { testOutage(t, a) })
	t.Run("kill everything but the pods", func(t *testing.T) { testKillSparingPods(t, a) })
	t.Run("kill everything", func(t *testing.T) { testKillAll(t, a) })
	t.Run("down and up", func(t *testing.T) { testDownUp(t, a) })

	a.start(t, "left-running", a.pod("left-running", "wait"))
	a.timed(t, "down", "down")
	require.True(t, b.observe(t).Ready, "taking down one cluster leaves the other")
	b.start(t, "left-running", b.pod("left-running", "wait"))
	as, bs := a.observe(t), b.observe(t)
	require.NotEmpty(t, tracesOf(t, bs))
	b.killProcesses(t, func(process) bool { return true })
	b.timed(t, "down of a killed cluster", "down", "--purge")
	require.NoDirExists(t, b.state)
	a.run(t, "down", "--purge")
	require.NoDirExists(t, a.state)
	require.Empty(t, tracesOf(t, as), "down leaves nothing behind")
	require.Empty(t, tracesOf(t, bs), "nor down of a killed cluster")
	if after, stillAlone := sysctls(t); alone && stillAlone {
		require.Empty(t, cmp.Diff(before, after), "the last cluster puts sysctls back")
	}
}

func testHardenedJob(t *testing.T, c testCluster) {
	job := c.createJob(t, "hardened", c.pod("hardened", "addresses"))
	c.awaitJob(t, job.Name)
	require.NotContains(t, c.logs(t, c.podOf(t, job.Name)), "fe80", "pods have no IPv6")
}

func testImageVolume(t *testing.T, c testCluster) {
	pod := c.pod("volume", "cat", "/agent/hello.txt")
	pod.Spec.Volumes = []corev1.Volume{{
		Name:         "agent",
		VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: c.data, PullPolicy: corev1.PullIfNotPresent}},
	}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "agent", MountPath: "/agent", ReadOnly: true}}
	c.create(t, pod)
	c.await(t, "volume", corev1.PodSucceeded)
	require.Equal(t, "hello from a volume\n", c.logs(t, "volume"))

	pod = c.withArgs(pod, "volume-write", "write", "/agent/new")
	c.create(t, pod)
	c.await(t, "volume-write", corev1.PodFailed)
	require.Contains(t, c.logs(t, "volume-write"), "read-only file system")
}

func testUnknownImage(t *testing.T, c testCluster) {
	pod := c.pod("unknown", "wait")
	pod.Spec.Containers[0].Image = "example.org/never/loaded:1"
	began := time.Now()
	c.create(t, pod)
	require.Eventually(t, func() bool {
		w := c.get(t, "unknown").Status.ContainerStatuses
		return len(w) == 1 && w[0].State.Waiting != nil && w[0].State.Waiting.Reason == "ErrImagePull" &&
			strings.Contains(w[0].State.Waiting.Message, "not found")
	}, 20*time.Second, 20*time.Millisecond, "a pull that cannot succeed says so")
	t.Logf("unknown image: ErrImagePull after %s", time.Since(began).Round(10*time.Millisecond))
	c.delete(t, "unknown")
}

// testIsolation listens wherever a pod could find something to reach.
func testIsolation(t *testing.T, a, b testCluster) {
	as, bs := a.observe(t), b.observe(t)
	gateway := listen(t, as.NodeIP, as.GatewayPort)
	otherGateway := listen(t, bs.NodeIP, bs.GatewayPort)
	everywhere := listen(t, "0.0.0.0", 0)
	_, port, err := net.SplitHostPort(everywhere)
	require.NoError(t, err)
	closed := []string{
		net.JoinHostPort(as.NodeIP, port),
		net.JoinHostPort(as.NodeIP, strconv.Itoa(as.Ports.Kubelet)),
		net.JoinHostPort(as.NodeIP, strconv.Itoa(as.Ports.APIServer)),
		serviceFirstIP + ":443",
		otherGateway,
	}
	for _, ip := range hostAddresses(t) {
		closed = append(closed, net.JoinHostPort(ip, port))
	}
	// A metadata service of this machine: with an address of its own no packet of
	// this test leaves it.
	const metadata = "169.254.169.254"
	require.NoError(t, run(t.Context(), "", "ip", "address", "add", metadata+"/32", "dev", "lo"))
	defer func() { require.NoError(t, run(t.Context(), "", "ip", "address", "del", metadata+"/32", "dev", "lo")) }()
	closed = append(closed, listen(t, metadata, 80))

	neighbour := a.start(t, "neighbour", a.pod("neighbour", "serve", ":8080")).Status.PodIP
	foreign := b.start(t, "neighbour", b.pod("neighbour", "serve", ":8080")).Status.PodIP
	for _, ip := range []string{neighbour, foreign} {
		target := net.JoinHostPort(ip, "8080")
		require.Eventually(t, func() bool {
			conn, err := net.DialTimeout("tcp", target, time.Second)
			if err == nil {
				conn.Close()
			}
			return err == nil
		}, 10*time.Second, 50*time.Millisecond, "the host reaches its pods, as probes do")
		closed = append(closed, target)
	}

	want := map[string]string{gateway: "open"}
	for _, target := range closed {
		want[target] = "closed"
	}
	a.create(t, a.pod("isolation", append([]string{"dial", gateway}, closed...)...))
	a.await(t, "isolation", corev1.PodSucceeded)
	got := map[string]string{}
	for line := range strings.Lines(a.logs(t, "isolation")) {
		target, verdict, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[target] = verdict
	}
	require.Empty(t, cmp.Diff(want, got))
	a.delete(t, "neighbour")
	b.delete(t, "neighbour")
}

func testLogs(t *testing.T, c testCluster) {
	c.start(t, "counting", c.pod("counting", "count", "20"))
	out, err := c.kubectl("logs", "-f", "counting").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, 20, strings.Count(string(out), "line"))
	out, err = c.kubectl("get", "jobs").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "hardened")
}

func testPodSecurity(t *testing.T, c testCluster) {
	pod := c.pod("unhardened", "wait")
	pod.Spec.Containers[0].SecurityContext = nil
	_, err := c.client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.ErrorContains(t, err, "violates PodSecurity")
}

func testOutage(t *testing.T, c testCluster) {
	job := c.createJob(t, "outage", c.pod("outage", "count", "30"))
	c.awaitRunning(t, job.Name)
	c.run(t, "stop-component", "kube-apiserver", "--for", "5s")
	_, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.Error(t, err, "the apiserver is down")
	require.Equal(t, phaseHeld, c.phase(t, "kube-apiserver"))
	require.Eventually(t, func() bool { return c.observe(t).Ready }, time.Minute, 100*time.Millisecond, "it comes back by itself")
	c.awaitJob(t, job.Name)

	before := c.component(t, "containerd")
	require.NoError(t, syscall.Kill(before.PID, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		now := c.component(t, "containerd")
		return now.Phase == phaseReady && now.PID != before.PID
	}, time.Minute, 50*time.Millisecond, "a killed component is started again")
}

func testKillSparingPods(t *testing.T, c testCluster) {
	pod := c.start(t, "survivor", c.pod("survivor", "wait"))
	c.killProcesses(t, func(p process) bool { return !p.isShim() })
	c.timed(t, "up after kill -9 of everything but the pods", "up")
	c.connect(t)
	require.Never(t, func() bool {
		now := c.get(t, "survivor")
		return now.Status.Phase != corev1.PodRunning ||
			now.Status.ContainerStatuses[0].ContainerID != pod.Status.ContainerStatuses[0].ContainerID
	}, 5*time.Second, 200*time.Millisecond, "the pod goes on running")
	require.Equal(t, "waiting\n", c.logs(t, "survivor"))
	c.delete(t, "survivor")
}

func testKillAll(t *testing.T, c testCluster) {
	c.start(t, "victim", c.pod("victim", "wait"))
	c.killProcesses(t, func(process) bool { return true })
	require.NoError(t, removeCgroup(layoutOf(t, c).CgroupRoot())) // the pods' own processes
	c.timed(t, "up after kill -9 of everything", "up")
	c.connect(t)
	c.await(t, "victim", corev1.PodFailed)
}

func testDownUp(t *testing.T, c testCluster) {
	c.start(t, "stopped", c.pod("stopped", "wait"))
	c.run(t, "down")
	c.timed(t, "second up", "up")
	c.connect(t)
	require.Eventually(t, func() bool {
		phase := c.get(t, "stopped").Status.Phase
		return phase == corev1.PodFailed || phase == corev1.PodSucceeded
	}, 30*time.Second, 50*time.Millisecond, "a pod that down ended does not run again")
	_, err := c.client.BatchV1().Jobs(namespace).Get(t.Context(), "hardened", metav1.GetOptions{})
	require.NoError(t, err, "objects are kept")
	c.create(t, c.pod("again", "addresses"))
	c.await(t, "again", corev1.PodSucceeded) // images are kept
}
