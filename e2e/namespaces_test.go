package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNamespaces: what is around the pods of runs is there before the first one, is
// kept right, and lets nothing else in.
func TestNamespaces(t *testing.T) {
	beside(t)
	s := Start(t, KeepJobs)
	namespaces := s.Kube.CoreV1().Namespaces()
	s.untilNamespace(t)
	made, err := namespaces.Get(t.Context(), s.Namespace, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "restricted", made.Labels["pod-security.kubernetes.io/enforce"])
	_, err = s.Kube.CoreV1().ResourceQuotas(s.Namespace).Get(t.Context(), "runs", metav1.GetOptions{})
	require.NoError(t, err)

	whole := t // a process of the subtest would end with it
	t.Run("is mended", func(t *testing.T) {
		s.worker.Kill()
		made.Labels["pod-security.kubernetes.io/enforce"] = "privileged"
		made.Labels["of-an-operator"] = "stays"
		_, err := namespaces.Update(t.Context(), made, metav1.UpdateOptions{})
		require.NoError(t, err)
		policies := s.Kube.NetworkingV1().NetworkPolicies(s.Namespace)
		deny, err := policies.Get(t.Context(), "default-deny", metav1.GetOptions{})
		require.NoError(t, err)
		deny.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
		_, err = policies.Update(t.Context(), deny, metav1.UpdateOptions{})
		require.NoError(t, err)
		admission := s.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicies()
		before, err := admission.Get(t.Context(), "agentmarket-runs", metav1.GetOptions{})
		require.NoError(t, err)
		s.startWorker(whole)
		require.Eventually(t, func() bool {
			now, err := namespaces.Get(t.Context(), s.Namespace, metav1.GetOptions{})
			require.NoError(t, err)
			deny, err := policies.Get(t.Context(), "default-deny", metav1.GetOptions{})
			require.NoError(t, err)
			return now.Labels["pod-security.kubernetes.io/enforce"] == "restricted" && now.Labels["of-an-operator"] == "stays" && len(deny.Spec.Egress) == 0
		}, 30*time.Second, 50*time.Millisecond, "both are what they were")
		after, err := admission.Get(t.Context(), "agentmarket-runs", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, before.ResourceVersion, after.ResourceVersion, "what is right is not written again")
	})

	run := s.startRun(t, "hello", map[string]string{"prompt": "x"})
	require.Equal(t, "succeeded", s.untilEnded(t, run.ID, time.Minute).Status)
	pods := s.pods(t, run.ID)
	require.Len(t, pods, 1)
	for name, tt := range map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"an image by its tag": {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "agentmarket.local/hello:dev" }, "pinned by digest"},
		"an image volume by its tag": {func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "x:1"}}})
		}, "pinned by digest"},
		"no labels":               {func(p *corev1.Pod) { p.Labels = nil }, "the labels of the platform"},
		"no Job":                  {func(p *corev1.Pod) { p.OwnerReferences = nil }, "only pods of a Job"},
		"a token":                 {func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) }, "only volumes of"}, // it comes with one,
		"a root that is writable": {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem = new(false) }, "only hardened"},
		"no limits": {func(p *corev1.Pod) {
			delete(p.Spec.Containers[0].Resources.Limits, corev1.ResourceMemory)
			delete(p.Spec.Containers[0].Resources.Requests, corev1.ResourceMemory)
		}, ""}, // the LimitRange gives it some
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			pod := pods[0].DeepCopy()
			pod.ObjectMeta = metav1.ObjectMeta{
				Name: "by-hand-" + strings.ToLower(strings.ReplaceAll(name, " ", "-")), Labels: pod.Labels, OwnerReferences: pod.OwnerReferences,
			}
			pod.Spec.NodeName, pod.Status = "", corev1.PodStatus{}
			tt.change(pod)
			_, err := s.Kube.CoreV1().Pods(s.Namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.True(t, apierrors.IsInvalid(err) || apierrors.IsForbidden(err), "%v", err)
			require.ErrorContains(t, err, tt.says)
		})
	}
	t.Run("lets nobody in", func(t *testing.T) {
		err := s.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(s.Namespace).Name(pods[0].Name).
			SubResource("exec").Param("command", "sh").Do(t.Context()).Error()
		require.ErrorContains(t, err, "nobody gets into the pod of a run")
	})
}
