package fakekubelet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestStep(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "runs", Name: "one", UID: "u"},
		Spec:       corev1.PodSpec{NodeName: prefix + "0", Containers: []corev1.Container{{Name: "agent", Image: "image"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	over := false
	n := &Nodes{kube: fake.NewClientset(pod), cfg: Config{
		Ended: func(*corev1.Pod) bool { return over }, Ending: func(*corev1.Pod) {},
		Message: func(*corev1.Pod) (string, error) { return "result", nil },
	}}
	pods := n.kube.CoreV1().Pods("runs")
	step := func() *corev1.Pod {
		t.Helper()
		require.NoError(t, n.step(t.Context(), pod))
		got, err := pods.Get(t.Context(), "one", metav1.GetOptions{})
		require.NoError(t, err)
		pod = got
		return got
	}
	require.Equal(t, corev1.PodRunning, step().Status.Phase)
	require.NotNil(t, pod.Status.StartTime)
	require.NotNil(t, pod.Status.ContainerStatuses[0].State.Running)
	require.Equal(t, corev1.PodRunning, step().Status.Phase, "its process has not ended")
	over = true
	require.Equal(t, corev1.PodSucceeded, step().Status.Phase)
	require.Equal(t, "result", pod.Status.ContainerStatuses[0].State.Terminated.Message)
	require.Equal(t, corev1.PodSucceeded, step().Status.Phase, "nothing follows")
	require.EqualValues(t, 2, n.Patches.Load())

	pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	require.NoError(t, n.step(t.Context(), pod))
	_, err := pods.Get(t.Context(), "one", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
}

func TestSimulated(t *testing.T) {
	require.True(t, Simulated(&corev1.Pod{Spec: corev1.PodSpec{NodeName: prefix + "3"}}))
	require.False(t, Simulated(&corev1.Pod{Spec: corev1.PodSpec{NodeName: "real"}}))
	require.False(t, Simulated(&corev1.Pod{}), "not scheduled yet")
}
