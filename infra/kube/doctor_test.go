package kube

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"agentmarket/infra"
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

// TestNamespaced: user namespaces are tried where all nodes say that they have them.
func TestNamespaced(t *testing.T) {
	handlers := func(able bool) []corev1.NodeRuntimeHandler {
		return []corev1.NodeRuntimeHandler{
			{Name: "gvisor", Features: &corev1.NodeRuntimeHandlerFeatures{UserNamespaces: new(!able)}},
			{Name: "", Features: &corev1.NodeRuntimeHandlerFeatures{UserNamespaces: new(able)}},
		}
	}
	node := func(name string, handlers []corev1.NodeRuntimeHandler, taints ...corev1.Taint) runtime.Object {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Taints: taints}, Status: corev1.NodeStatus{RuntimeHandlers: handlers}}
	}
	closed := corev1.Taint{Key: "control-plane", Effect: corev1.TaintEffectNoSchedule}
	for name, tt := range map[string]struct {
		nodes []runtime.Object
		want  bool
	}{
		"no nodes":              {nil, false},
		"all":                   {[]runtime.Object{node("a", handlers(true)), node("b", handlers(true))}, true},
		"some":                  {[]runtime.Object{node("a", handlers(true)), node("b", handlers(false))}, false},
		"an old kubelet":        {[]runtime.Object{node("a", nil)}, false},
		"a runtime that is mum": {[]runtime.Object{node("a", []corev1.NodeRuntimeHandler{{Name: ""}})}, false},
		"where no pod comes to": {[]runtime.Object{node("a", handlers(true)), node("b", handlers(false), closed)}, true},
		"only where none comes": {[]runtime.Object{node("b", handlers(true), closed)}, false},
	} {
		require.Equal(t, tt.want, NewDoctor(fake.NewClientset(tt.nodes...), nil, Config{}.WithDefaults(), "").namespaced(t.Context()), name)
	}
	client := fake.NewClientset(node("a", handlers(true)))
	client.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "", nil)
	})
	require.False(t, NewDoctor(client, nil, Config{}.WithDefaults(), "").namespaced(t.Context()), "who may not look")
}

// TestUserNamespaceOfARetry: what the doctor finds out between two tries to create an
// attempt makes it no other one.
func TestUserNamespaceOfARetry(t *testing.T) {
	s := sandbox()
	_, before, err := render(s, config())
	require.NoError(t, err)
	s.UserNamespace = true
	_, after, err := render(s, config())
	require.NoError(t, err)
	require.Nil(t, before.Spec.Template.Spec.HostUsers)
	require.False(t, *after.Spec.Template.Spec.HostUsers)
	require.Equal(t, before.Annotations[annotationSpecHash], after.Annotations[annotationSpecHash])
}

// TestExamineUserNamespace: a user namespace that does not work is none, and refuses no
// tier.
func TestExamineUserNamespace(t *testing.T) {
	users := func(state infra.State) infra.Examination {
		return infra.Examination{Findings: []infra.Finding{{Check: infra.CheckProbe, State: infra.Holds}, {Check: infra.CheckUsers, State: state}}}
	}
	silent := infra.Examination{Findings: []infra.Finding{{Check: infra.CheckProbe, State: infra.Unknown}}}
	plain := infra.Examination{Findings: []infra.Finding{{Check: infra.CheckProbe, State: infra.Holds}}}
	for name, tt := range map[string]struct {
		able      bool
		sandboxed bool
		with      infra.Examination
		want      infra.State
		probes    int
	}{
		"it works":                {true, false, users(infra.Holds), infra.Holds, 1},
		"its users are the nodes": {true, false, users(infra.Broken), infra.Unknown, 2},
		"it does not start":       {true, false, silent, infra.Unknown, 2},
		"nodes have none":         {false, false, plain, "", 1},
		"a kernel of its own":     {true, true, plain, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "gvisor"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NodeStatus{
				RuntimeHandlers: []corev1.NodeRuntimeHandler{{Features: &corev1.NodeRuntimeHandlerFeatures{UserNamespaces: new(tt.able)}}},
			}})
			d, probes := NewDoctor(client, nil, sandboxing(), ""), 0
			d.probe = func(_ context.Context, sandboxed, namespaced bool) (infra.Examination, error) {
				probes++
				require.Equal(t, tt.sandboxed, sandboxed)
				if namespaced {
					return tt.with, nil
				}
				return plain, nil
			}
			got, err := d.Examine(t.Context(), tt.sandboxed)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.State(infra.CheckUsers))
			require.Equal(t, infra.Holds, got.State(infra.CheckProbe))
			require.Empty(t, got.Broken())
			require.Equal(t, tt.probes, probes)
		})
	}
}

// TestExamineWithoutRuntimeClass: the tier is refused, not only unknown. Who may not ask
// whether there is one tries.
func TestExamineWithoutRuntimeClass(t *testing.T) {
	client := fake.NewClientset()
	d, probes := NewDoctor(client, nil, sandboxing(), ""), 0
	d.probe = func(context.Context, bool, bool) (infra.Examination, error) {
		probes++
		return infra.Examination{}, nil
	}
	got, err := d.Examine(t.Context(), true)
	require.NoError(t, err)
	require.Len(t, got.Broken(), 1)
	require.Contains(t, got.Broken()[0].Message, "gvisor")
	require.Zero(t, probes)

	client.PrependReactor("get", "runtimeclasses", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(nodev1.Resource("runtimeclasses"), "gvisor", nil)
	})
	got, err = d.Examine(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, got.Broken())
	require.Equal(t, 1, probes)
}
