// Package deploy_test reads what deploys the platform: manifests are decoded
// strictly into the types of Kubernetes, so that a misspelt field fails here and
// is not silently dropped by a cluster.
package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"agentmarket/infra/kube"
	"agentmarket/product"
)

const (
	manifests         = "kubernetes"
	platformNamespace = "agentmarket"
	runsNamespace     = "agentmarket-runs"
)

// kinds are the objects that the manifests may hold.
var kinds = map[string]func() metav1.Object{
	"v1/Namespace":                       func() metav1.Object { return &corev1.Namespace{} },
	"v1/ResourceQuota":                   func() metav1.Object { return &corev1.ResourceQuota{} },
	"v1/LimitRange":                      func() metav1.Object { return &corev1.LimitRange{} },
	"v1/ServiceAccount":                  func() metav1.Object { return &corev1.ServiceAccount{} },
	"v1/Service":                         func() metav1.Object { return &corev1.Service{} },
	"apps/v1/Deployment":                 func() metav1.Object { return &appsv1.Deployment{} },
	"batch/v1/Job":                       func() metav1.Object { return &batchv1.Job{} },
	"policy/v1/PodDisruptionBudget":      func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1/NetworkPolicy": func() metav1.Object { return &networkingv1.NetworkPolicy{} },
	"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy": func() metav1.Object {
		return &admissionv1.ValidatingAdmissionPolicy{}
	},
	"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding": func() metav1.Object {
		return &admissionv1.ValidatingAdmissionPolicyBinding{}
	},
	"rbac.authorization.k8s.io/v1/Role":        func() metav1.Object { return &rbacv1.Role{} },
	"rbac.authorization.k8s.io/v1/RoleBinding": func() metav1.Object { return &rbacv1.RoleBinding{} },
}

// kustomization is the part of a kustomization.yaml that is used here.
type kustomization struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Resources  []string `json:"resources"`
	Images     []struct {
		Name    string `json:"name"`
		NewName string `json:"newName"`
		NewTag  string `json:"newTag"`
	} `json:"images"`
	ConfigMapGenerator []struct {
		Name      string   `json:"name"`
		Namespace string   `json:"namespace"`
		Literals  []string `json:"literals"`
	} `json:"configMapGenerator"`
}

// objects reads every manifest, by kind and name.
func objects(t *testing.T) map[string]metav1.Object {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(manifests, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	found := map[string]metav1.Object{}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		for _, document := range strings.Split(read(t, file), "\n---\n") {
			var meta metav1.TypeMeta
			require.NoError(t, yaml.Unmarshal([]byte(document), &meta), file)
			newObject, known := kinds[meta.APIVersion+"/"+meta.Kind]
			require.True(t, known, "%s: unknown kind %s/%s", file, meta.APIVersion, meta.Kind)
			object := newObject()
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), object), file)
			found[meta.Kind+"/"+object.GetName()+"@"+object.GetNamespace()] = object
		}
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func object[T metav1.Object](t *testing.T, all map[string]metav1.Object, key string) T {
	t.Helper()
	found, ok := all[key].(T)
	require.True(t, ok, "there is no %s", key)
	return found
}

// What an operator applies and what a worker makes by itself are the same.
func TestRunsNamespaceIsWhatTheWorkerMakes(t *testing.T) {
	client := fake.NewClientset()
	config := kube.Config{GatewayURL: gatewayURL(t), GatewayNamespace: platformNamespace}.WithDefaults()
	require.NoError(t, kube.EnsureNamespace(t.Context(), client, config))
	made, err := client.CoreV1().Namespaces().Get(t.Context(), runsNamespace, metav1.GetOptions{})
	require.NoError(t, err)
	policy, err := client.NetworkingV1().NetworkPolicies(runsNamespace).Get(t.Context(), "default-deny", metav1.GetOptions{})
	require.NoError(t, err)

	all := objects(t)
	written := object[*corev1.Namespace](t, all, "Namespace/"+runsNamespace+"@")
	require.Empty(t, cmp.Diff(made.Labels, written.Labels))
	require.Equal(t, "restricted", written.Labels["pod-security.kubernetes.io/enforce"])
	deny := object[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy/default-deny@"+runsNamespace)
	require.Empty(t, cmp.Diff(policy.Labels, deny.Labels))
	require.Empty(t, cmp.Diff(policy.Spec, deny.Spec, cmpopts.EquateEmpty()))
	gateway, err := client.NetworkingV1().NetworkPolicies(runsNamespace).Get(t.Context(), "gateway", metav1.GetOptions{})
	require.NoError(t, err)
	open := object[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy/gateway@"+runsNamespace)
	require.Empty(t, cmp.Diff(gateway.Labels, open.Labels))
	require.Empty(t, cmp.Diff(gateway.Spec, open.Spec, cmpopts.EquateEmpty()))
	quota, err := client.CoreV1().ResourceQuotas(runsNamespace).Get(t.Context(), "runs", metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(quota.Spec, object[*corev1.ResourceQuota](t, all, "ResourceQuota/runs@"+runsNamespace).Spec))
	limits, err := client.CoreV1().LimitRanges(runsNamespace).Get(t.Context(), "runs", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, kube.AdmissionManifest(), read(t, filepath.Join(manifests, "admission-policy.yaml")))
	require.Empty(t, cmp.Diff(limits.Spec, object[*corev1.LimitRange](t, all, "LimitRange/runs@"+runsNamespace).Spec))
}

// gatewayURL is the one of kustomization.yaml, which leads to the Service.
func gatewayURL(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, filepath.Join(manifests, "kustomization.yaml")), "AGENTMARKET_GATEWAY_URL=")
	require.True(t, found)
	url, _, _ := strings.Cut(rest, "\n")
	service := object[*corev1.Service](t, objects(t), "Service/agentmarket-gateway@"+platformNamespace)
	require.Equal(t, fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, service.Spec.Ports[0].Port), url)
	return url
}

// Whatever the platform plans fits into the namespace.
func TestLimitRangeHoldsTheLargestPlan(t *testing.T) {
	limits := object[*corev1.LimitRange](t, objects(t), "LimitRange/runs@"+runsNamespace)
	require.Len(t, limits.Spec.Limits, 1)
	largest, bound := product.DefaultLimits().Resources, limits.Spec.Limits[0].Max
	const logAllowanceMiB = 64
	require.Equal(t, largest.CPUMillis, bound.Cpu().MilliValue())
	require.Equal(t, largest.MemoryMiB<<20, bound.Memory().Value())
	require.Equal(t, (largest.DiskMiB+logAllowanceMiB)<<20, bound.StorageEphemeral().Value())
}

// The roles hold what infra/kube calls, in the namespace of runs, and no more.
func TestRolesAreMinimal(t *testing.T) {
	all := objects(t)
	verbs := func(role string) map[string]string {
		allowed := map[string]string{}
		for _, rule := range object[*rbacv1.Role](t, all, "Role/"+role+"@"+runsNamespace).Rules {
			for _, resource := range rule.Resources {
				allowed[strings.TrimPrefix(rule.APIGroups[0]+"/"+resource, "/")] = strings.Join(rule.Verbs, " ")
			}
		}
		return allowed
	}
	require.Empty(t, cmp.Diff(map[string]string{
		"batch/jobs": "create get list patch delete",
		"pods":       "get list watch patch delete",
		"pods/log":   "get",
		"events":     "list",
		"secrets":    "create get list patch delete",
		"namespaces": "get",
	}, verbs("agentmarket-worker")))
	require.Empty(t, cmp.Diff(map[string]string{
		"pods": "list", "pods/log": "get", "namespaces": "get",
	}, verbs("agentmarket-api")))
	require.Empty(t, cmp.Diff(map[string]string{"pods": "get list watch"}, verbs("agentmarket-gateway")))
	for key, o := range all {
		role, isRole := o.(*rbacv1.Role)
		if !isRole {
			continue
		}
		binding := object[*rbacv1.RoleBinding](t, all, strings.Replace(key, "Role/", "RoleBinding/", 1))
		require.Equal(t, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}, binding.RoleRef)
		for _, subject := range binding.Subjects {
			require.Equal(t, platformNamespace, subject.Namespace)
			object[*corev1.ServiceAccount](t, all, "ServiceAccount/"+subject.Name+"@"+platformNamespace)
		}
	}
}

// Every pod of the platform passes the restricted standard that its namespace
// enforces, and uses an account and an image that exist here.
func TestPodsAreHardened(t *testing.T) {
	all := objects(t)
	pods := map[string]corev1.PodSpec{}
	for key, o := range all {
		switch o := o.(type) {
		case *appsv1.Deployment:
			pods[key] = o.Spec.Template.Spec
			require.Equal(t, o.Spec.Selector.MatchLabels["app.kubernetes.io/name"],
				o.Spec.Template.Labels["app.kubernetes.io/name"], key)
		case *batchv1.Job:
			pods[key] = o.Spec.Template.Spec
		}
	}
	require.Len(t, pods, 4)
	var commands []string
	for key, pod := range pods {
		object[*corev1.ServiceAccount](t, all, "ServiceAccount/"+pod.ServiceAccountName+"@"+platformNamespace)
		require.True(t, *pod.SecurityContext.RunAsNonRoot, key)
		require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, key)
		require.Len(t, pod.Containers, 1, key)
		c := pod.Containers[0]
		require.Equal(t, &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}, c.SecurityContext, key)
		require.False(t, c.Resources.Limits.Memory().IsZero(), "%s has no memory limit", key)
		require.Equal(t, "agentmarket/platform:v0.1.0", c.Image, "%s: the name that kustomization.yaml replaces", key)
		commands = append(commands, c.Args...)
	}
	slices.Sort(commands)
	require.Equal(t, []string{"api", "gateway", "migrate", "worker"}, commands)
}

func TestProbesOfTheAPI(t *testing.T) {
	api := object[*appsv1.Deployment](t, objects(t), "Deployment/agentmarket-api@"+platformNamespace).Spec.Template.Spec.Containers[0]
	require.Equal(t, "/livez", api.LivenessProbe.HTTPGet.Path)
	require.Equal(t, "/readyz", api.ReadinessProbe.HTTPGet.Path)
	require.EqualValues(t, 3000, api.Ports[0].ContainerPort)
}

func TestKustomizationNamesEveryManifest(t *testing.T) {
	var k kustomization
	require.NoError(t, yaml.UnmarshalStrict([]byte(read(t, filepath.Join(manifests, "kustomization.yaml"))), &k))
	files, err := filepath.Glob(filepath.Join(manifests, "*.yaml"))
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" {
			names = append(names, name)
		}
	}
	require.ElementsMatch(t, names, k.Resources)
	for _, image := range k.Images {
		require.Regexp(t, pinnedTag, image.NewName+":"+image.NewTag)
	}

	// Every variable is one that the program reads.
	usage := read(t, "../cmd/agentmarket/config.go")
	require.Len(t, k.ConfigMapGenerator, 1)
	for _, literal := range k.ConfigMapGenerator[0].Literals {
		name, _, _ := strings.Cut(literal, "=")
		require.Contains(t, usage, name)
	}
}

// pinnedTag is an image with a version: digits in it, and never latest.
var pinnedTag = regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9]+[a-z0-9.-]*$`)

// composeFile is the part of docker-compose.yml that is checked.
type composeFile struct {
	Services map[string]struct {
		Image       string                       `json:"image"`
		DependsOn   map[string]map[string]string `json:"depends_on"`
		Environment map[string]string            `json:"environment"`
		Volumes     []string                     `json:"volumes"`
		Command     []string                     `json:"command"`
		Ports       []string                     `json:"ports"`
	} `json:"services"`
	Volumes map[string]any `json:"volumes"`
}

func TestComposeFile(t *testing.T) {
	text := read(t, "../docker-compose.yml")
	var compose composeFile
	require.NoError(t, yaml.Unmarshal([]byte(text), &compose))
	require.Subset(t, keys(compose.Services), []string{"postgres", "temporal", "temporal-ui", "migrate", "api", "worker"})
	for name, service := range compose.Services {
		require.Regexp(t, pinnedTag, service.Image, "the image of %s is not pinned to a version", name)
		for dependency := range service.DependsOn {
			require.Contains(t, compose.Services, dependency, "%s depends on nobody", name)
		}
		for _, port := range service.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s is open to the network: %s", name, port)
		}
	}
	for _, command := range []string{"migrate", "api", "worker"} {
		service := compose.Services[command]
		require.Equal(t, []string{command}, service.Command)
		usage := read(t, "../cmd/agentmarket/config.go")
		for variable := range service.Environment {
			require.Contains(t, usage, variable)
		}
	}

	// Server and UI are those that `make run` embeds.
	versions := modules(t)
	require.Equal(t, "temporalio/server:"+versions["go.temporal.io/server"], compose.Services["temporal"].Image)
	require.Equal(t, "temporalio/ui:"+versions["github.com/temporalio/ui-server/v2"], compose.Services["temporal-ui"].Image)
}

func keys[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// modules are the versions of go.mod, without their v.
func modules(t *testing.T) map[string]string {
	t.Helper()
	versions := map[string]string{}
	for line := range strings.Lines(read(t, "../go.mod")) {
		if fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(fields) >= 2 {
			versions[fields[0]] = strings.TrimPrefix(fields[1], "v")
		}
	}
	return versions
}

// The images are built from pinned bases with the Go of go.mod, and run as
// nobody from an empty file system.
func TestDockerfiles(t *testing.T) {
	files, err := filepath.Glob("images/*.Dockerfile")
	require.NoError(t, err)
	require.Len(t, files, 2)
	golang := fmt.Sprintf("FROM golang:%s-bookworm AS build", modules(t)["go"])
	for _, file := range files {
		var bases []string
		text := read(t, file)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "FROM ") {
				bases = append(bases, strings.TrimSpace(line))
			}
		}
		require.Equal(t, []string{golang, "FROM scratch"}, bases, file)
		require.Contains(t, text, "\nUSER 65532:65532\n", file)
		require.Contains(t, text, "CGO_ENABLED=0", file)
	}
}
