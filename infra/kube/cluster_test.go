package kube

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"agentmarket/infra"
)

func TestDeleteFindsThePodThatIsMadeWhileItDeletesTheJob(t *testing.T) {
	cfg := Config{Namespace: "runs", CreatesPerSecond: 1}
	ref := infra.Ref{Run: "run_01jd0000000000000000000000", Attempt: 1}
	client := fake.NewClientset()
	client.PrependReactor("delete", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		return false, nil, client.Tracker().Add(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "runs", Name: "late", UID: "u1", Labels: labelsOf(infra.Sandbox{Ref: ref})},
			Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(30))},
		})
	})
	require.NoError(t, NewCluster(client, cfg).Delete(t.Context(), ref, 2*time.Second))
	var graces []int64
	for _, a := range client.Actions() {
		if d, ok := a.(clienttesting.DeleteActionImpl); ok && d.Resource.Resource == "pods" {
			graces = append(graces, *d.DeleteOptions.GracePeriodSeconds)
		}
	}
	require.Equal(t, []int64{2}, graces)
}

// TestCreateIsRepeatedWhenAQuotaIsContended: the API server refuses with a conflict who
// was counted for a quota in the same moment as others.
func TestCreateIsRepeatedWhenAQuotaIsContended(t *testing.T) {
	client, cfg := fake.NewClientset(), Config{Namespace: "runs"}.WithDefaults()
	refused := map[string]int{}
	client.PrependReactor("create", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		resource := a.GetResource().GroupResource()
		if refused[resource.Resource]++; refused[resource.Resource] > 2 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "runs", errors.New("modified"))
	})
	require.NoError(t, NewCluster(client, cfg).Create(t.Context(), sandbox()))
	require.Equal(t, map[string]int{"jobs": 3, "secrets": 3}, refused)
}
