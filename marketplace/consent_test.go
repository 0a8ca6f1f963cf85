package marketplace_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

func TestConsent(t *testing.T) {
	modest := product.Permissions{CPUMillis: 500, RunSeconds: 60}
	online := product.Permissions{Egress: []string{"api.example.com"}, CPUMillis: 500, RunSeconds: 60}
	agreed := func(p product.Permissions) *marketplace.Installation {
		return &marketplace.Installation{Consented: p, ConsentedAt: now, ConsentedBy: "usr_1"}
	}
	for name, tc := range map[string]struct {
		asked     product.Permissions
		installed *marketplace.Installation
		ok        bool
	}{
		"nothing that needs one":          {modest, nil, true},
		"never asked":                     {online, nil, false},
		"installed, never asked":          {online, &marketplace.Installation{Channel: "stable"}, false},
		"agreed":                          {online, agreed(online), true},
		"agreed to less":                  {online, agreed(modest), false},
		"agreed to more":                  {modest, agreed(online), true},
		"agreed to nothing, asks for CPU": {product.Permissions{CPUMillis: 501, RunSeconds: 60}, agreed(modest), false},
	} {
		t.Run(name, func(t *testing.T) {
			c := claim(priced(marketplace.ModelPerRun), right(purchase))
			c.Installation, c.Wallet = tc.installed, usd(0)
			s := subject
			s.Permissions = tc.asked
			_, err := c.Decide(s, now)
			if tc.ok {
				denied(t, err, fault.PaymentRequired, marketplace.CodeInsufficientFunds, "the money is asked for last")
			} else {
				denied(t, err, fault.Forbidden, marketplace.CodeConsentRequired)
			}
			c.OrgID, c.Entitlements = c.Publisher, nil
			_, err = c.Decide(s, now)
			require.NoError(t, err, "publishers know what their agents do")
			c = claim(priced(marketplace.ModelPerRun))
			c.Installation = tc.installed
			_, err = c.Decide(s, now)
			denied(t, err, fault.PaymentRequired, marketplace.CodePaymentRequired, "the right is asked for first")
		})
	}
	require.True(t, fault.Is(marketplace.ErrConsent("acme/greeter", "2.0.0"), fault.Forbidden))
	require.Equal(t, marketplace.CodeConsentRequired, fault.From(marketplace.ErrConsent("acme/greeter", "2.0.0")).Code)
}

func TestBudgetIsCheckedBeforeTheWallet(t *testing.T) {
	c := claim(priced(marketplace.ModelPerRun), right(purchase))
	s := subject
	s.MaxCost = usd(1)
	_, err := c.Decide(s, now)
	denied(t, err, fault.PaymentRequired, marketplace.CodeBudgetTooLow)
	s.MaxCost = money.Of(1<<50, "EUR")
	_, err = c.Decide(s, now)
	require.Equal(t, []string{"/max_cost/currency"}, pointers(t, err))
	// What costs nothing needs no budget.
	s.MaxCost = usd(0)
	for _, c := range []marketplace.Claim{claim(nil), claim(c.Price, right(trialed)), claim(c.Price, right(subscription))} {
		_, err = c.Decide(s, now)
		require.NoError(t, err)
	}
}

// Whoever runs agents may see these, and not what the organization has.
func TestDenialsNameWhatIsNeededOnly(t *testing.T) {
	c := claim(priced(marketplace.ModelPerRun), right(purchase))
	c.Wallet = usd(77_000)
	_, err := c.Decide(subject, now)
	require.Equal(t, "the run may cost "+usd(250_000).String()+", and your organization's wallet does not have it", fault.From(err).Message)
	s := marketplace.Spending{Limits: []marketplace.SpendLimit{{Scope: marketplace.SpendMonthly, Amount: usd(77_000)}}}
	err = s.Allow(usd(250_000), "")
	require.Equal(t, "a spend limit of your organization (month) does not leave "+usd(250_000).String(), fault.From(err).Message)
}

// TestVisible goes through every status and visibility.
func TestVisible(t *testing.T) {
	out := []marketplace.ListingStatus{marketplace.ListingPublished, marketplace.ListingDeprecated, marketplace.ListingSuspended}
	for _, status := range append(marketplace.ListingStatuses(), "") {
		for _, v := range append(marketplace.Visibilities(), "") {
			for _, granted := range []bool{true, false} {
				c := claim(nil)
				c.Status, c.Visibility, c.Granted = status, v, granted
				offered := slices.Contains(out, status) &&
					(v == marketplace.VisibilityPublic || v == marketplace.VisibilityPrivate && granted)
				require.Equal(t, offered, c.Visible(now), "%q %q %t", status, v, granted)
				for _, source := range []marketplace.Source{ownership, grant, free, purchase, subscription, trialed} {
					c.Entitlements = []marketplace.Right{right(source)}
					require.True(t, c.Visible(now), source)
					for _, end := range []rightChange{revoked, expired} {
						c.Entitlements = []marketplace.Right{right(source, end)}
						given := source == grant || source == free
						require.Equal(t, offered || !given, c.Visible(now), "what was ordered does not vanish, what was given does: %s", source)
						require.True(t, c.Visible(now.Add(-1)), source)
					}
				}
				c.Entitlements, c.OrgID = nil, c.Publisher
				require.True(t, c.Visible(now), "publishers see what is theirs")
			}
		}
	}
}

func TestDecideIsPure(t *testing.T) {
	c := claim(priced(marketplace.ModelPerRun), right(purchase), right(trialed, used(3)), right(grant, revoked))
	before := slices.Clone(c.Entitlements)
	first, err := c.Decide(subject, now)
	require.NoError(t, err)
	second, err := c.Decide(subject, now)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(first, second))
	require.Empty(t, cmp.Diff(before, c.Entitlements), "the order of the rights is the caller's")
}
