package kube

import (
	"context"
	_ "embed" // the policy
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// labelRuns marks the namespaces in which the admission policy holds.
const labelRuns = "agentmarket.dev/runs"

//go:embed admission.yaml
var admissionManifest string

// AdmissionManifest is the admission policy of the namespaces of runs, as an operator
// applies it: deploy/kubernetes/admission-policy.yaml.
func AdmissionManifest() string { return admissionManifest }

// EnsureAdmission makes the admission policy of the namespaces of runs, or mends it. It
// is idempotent, and the same for all platforms of a cluster.
func EnsureAdmission(ctx context.Context, client kubernetes.Interface) error {
	for _, text := range strings.Split(admissionManifest, "\n---\n") {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			return fmt.Errorf("read admission policy: %w", err)
		}
		if err := ensureAdmission(ctx, client, meta.Kind, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

func ensureAdmission(ctx context.Context, client kubernetes.Interface, kind string, text []byte) error {
	api := client.AdmissionregistrationV1()
	switch kind {
	case "ValidatingAdmissionPolicy":
		var want admissionv1.ValidatingAdmissionPolicy
		if err := yaml.UnmarshalStrict(text, &want); err != nil {
			return fmt.Errorf("read admission policy: %w", err)
		}
		return ensure(ctx, api.ValidatingAdmissionPolicies(), "admission policy "+want.Name, &want,
			func(have *admissionv1.ValidatingAdmissionPolicy) bool {
				return replace(&have.Spec, want.Spec) // which says the API server's defaults, too
			})
	case "ValidatingAdmissionPolicyBinding":
		var want admissionv1.ValidatingAdmissionPolicyBinding
		if err := yaml.UnmarshalStrict(text, &want); err != nil {
			return fmt.Errorf("read admission policy: %w", err)
		}
		return ensure(ctx, api.ValidatingAdmissionPolicyBindings(), "binding of admission policy "+want.Name, &want,
			func(have *admissionv1.ValidatingAdmissionPolicyBinding) bool {
				return replace(&have.Spec, want.Spec)
			})
	}
	return fmt.Errorf("read admission policy: unknown kind %q", kind)
}
