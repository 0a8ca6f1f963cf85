package marketplace_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

func TestSubjectOf(t *testing.T) {
	v := product.Version{Number: "1.2.0", Manifest: agentruntime.Manifest{
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(), Egress: []string{"api.example.com"},
	}}
	for _, tt := range []struct {
		name              string
		asked, most, want time.Duration
	}{
		{"the manifest's", 0, time.Hour, 5 * time.Minute},
		{"the caller's", time.Minute, time.Hour, time.Minute},
		{"never longer than the manifest's", time.Hour, time.Hour, 5 * time.Minute},
		{"the platform's", time.Minute, time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limits := product.DefaultLimits()
			limits.MaxRun = tt.most
			request := product.Request{RunTimeout: tt.asked, MaxCost: money.Of(7, "USD")}
			want := marketplace.Subject{
				Version: "1.2.0", Permissions: product.PermissionsOf(v.Manifest), Timeout: tt.want, MaxCost: money.Of(7, "USD"),
			}
			require.Empty(t, cmp.Diff(want, marketplace.SubjectOf(v, request, limits, marketplace.Policy{})))

			plan, err := product.Resolve(product.Question{Version: v, Request: request, Limits: limits, Now: time.Now()})
			require.NoError(t, err)
			require.Equal(t, tt.want, plan.Deadlines.Run, "what is paid for is what is run")
		})
	}
}
