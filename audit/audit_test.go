package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
)

func TestThePlatformItselfIsAnActorOfNoOrganization(t *testing.T) {
	require.Equal(t, audit.Actor{Kind: audit.KindSystem, ID: "renewals"}, audit.System("renewals"))
}
