package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"agentmarket/fault"
)

// interpret turns an error of the API server or of the way to it into a fault.
// Whatever another try may mend is Unavailable: besides the server's own
// transient errors that is every network error, and a 403, because quotas and a
// role that an operator is about to fix answer with it.
func interpret(err error, doing string) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case apierrors.IsNotFound(err):
		return fault.Wrap(fault.NotFound, err, doing)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return fault.Wrap(fault.Invalid, err, doing)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), quotaText):
		f := fault.Wrap(fault.Unavailable, err, doing)
		f.Code = "quota_exceeded"
		return f
	default:
		return fault.Wrap(fault.Unavailable, err, doing)
	}
}

// quotaText is the API server's fixed text, and the only sign that a 403 is the
// refusal of a quota and not of a role.
const quotaText = "exceeded quota"
