package conductor

import (
	"context"
	"errors"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"

	"agentmarket/workflows"
)

// EnsureSearchAttributes registers the search attributes of runs where the
// namespace lacks them. A workflow that names an unknown one cannot start.
func (c *Conductor) EnsureSearchAttributes(ctx context.Context) error {
	operator := c.client.OperatorService()
	have, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.namespace})
	if err != nil {
		return unavailable(err, "list search attributes")
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range []string{workflows.OrgIDKey.GetName(), workflows.AgentIDKey.GetName(), workflows.RunStatusKey.GetName()} {
		if _, ok := have.GetCustomAttributes()[name]; !ok {
			missing[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: c.namespace, SearchAttributes: missing,
	})
	var exists *serviceerror.AlreadyExists
	if errors.As(err, &exists) { // another process was faster
		return nil
	}
	return unavailable(err, "add search attributes")
}
