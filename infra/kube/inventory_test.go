package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"agentmarket/infra"
)

// metadataOf is what the API server says of an object of an attempt.
func metadataOf(apiVersion, kind, namespace, uid string, ref infra.Ref) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{
			Name: ref.Name(), Namespace: namespace, UID: types.UID(uid), Labels: labelsOf(infra.Sandbox{Ref: ref, Agent: "agt_1"}),
		},
	}
}

func inventoryOf(t *testing.T, objects ...runtime.Object) *Inventory {
	t.Helper()
	scheme := fake.NewTestScheme()
	require.NoError(t, metav1.AddMetaToScheme(scheme))
	return NewInventory(fake.NewSimpleMetadataClient(scheme, objects...), Config{}.WithDefaults())
}

func TestInventory(t *testing.T) {
	ref := infra.Ref{Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: 2, Org: "org_1"}
	foreign := metadataOf("batch/v1", "Job", "agentmarket-runs", "3", infra.Ref{Run: "run_01jd3m0f9zq4x8v5c7n2b6k1tb", Attempt: 1})
	foreign.Labels = map[string]string{labelManagedBy: managedBy}
	i := inventoryOf(t,
		metadataOf("batch/v1", "Job", "agentmarket-runs", "1", ref),
		metadataOf("v1", "Secret", "agentmarket-runs", "2", ref),
		foreign,
		metadataOf("batch/v1", "Job", "other", "4", ref),
	)
	found := map[string]infra.Object{}
	require.NoError(t, i.Objects(t.Context(), func(page []infra.Object) error {
		for _, o := range page {
			found[o.Kind] = o
		}
		return nil
	}))
	require.Len(t, found, 2)
	require.Equal(t, infra.Object{Kind: "Job", Namespace: "agentmarket-runs", Name: ref.Name(), UID: "1", Ref: ref}, found["Job"])
	require.Equal(t, "2", found["Secret"].UID)

	// Only the object that was judged is removed.
	another := found["Job"]
	another.UID = "0"
	removed, err := i.Remove(t.Context(), another)
	require.NoError(t, err)
	require.False(t, removed)
	for _, want := range []bool{true, false} { // a second time it is gone
		removed, err = i.Remove(t.Context(), found["Job"])
		require.NoError(t, err)
		require.Equal(t, want, removed)
	}
}

// TestInventoryHasPages: every page of a long list is read.
func TestInventoryHasPages(t *testing.T) {
	i := inventoryOf(t)
	client, ok := i.client.(*fake.FakeMetadataClient)
	require.True(t, ok)
	n := 0
	client.PrependReactor("list", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		n++
		list := &metav1.List{ListMeta: metav1.ListMeta{Continue: []string{"second", "third", ""}[n-1]}}
		ref := infra.Ref{Run: "run_01jd3m0f9zq4x8v5c7n2b6k1ta", Attempt: n, Org: "org_1"}
		list.Items = []runtime.RawExtension{{Object: metadataOf("batch/v1", "Job", "agentmarket-runs", "1", ref)}}
		return true, list, nil
	})
	var attempts []int
	require.NoError(t, i.Objects(t.Context(), func(page []infra.Object) error {
		for _, o := range page {
			attempts = append(attempts, o.Ref.Attempt)
		}
		return nil
	}))
	require.Equal(t, []int{1, 2, 3}, attempts)
}
