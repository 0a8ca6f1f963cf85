package product

import "agentmarket/infra"

// Reason is the stable code of why a run ended. It extends the reasons that
// layer 3 finds with those of layers 1 and 2.
type Reason string

// The reasons that no cluster can tell.
const (
	ReasonOK              = Reason(infra.ReasonOK)
	ReasonDeadline        = Reason(infra.ReasonDeadline)
	ReasonPlatformError   = Reason(infra.ReasonPlatformError)
	ReasonQuotaExceeded   = Reason(infra.ReasonQuotaExceeded)
	ReasonCanceled        = Reason("canceled")
	ReasonBudgetExhausted = Reason("budget_exhausted")
	ReasonNotEntitled     = Reason("not_entitled")
	ReasonPaymentRequired = Reason("payment_required")
	ReasonPlanInvalid     = Reason("plan_invalid")
	ReasonQueueTimeout    = Reason("queue_timeout")
	ReasonPolicyDenied    = Reason("policy_denied")
	ReasonLimitReached    = Reason("limit_reached")
	ReasonApprovalDenied  = Reason("approval_denied")
	ReasonApprovalTimeout = Reason("approval_timeout")
)

// Cause says who can do something about a reason.
type Cause string

// The causes.
const (
	CauseNone      Cause = ""
	CauseAgent     Cause = "agent"     // the agent's code
	CauseCaller    Cause = "caller"    // the one who started or canceled the run
	CausePublisher Cause = "publisher" // how the agent was published
	CausePlatform  Cause = "platform"  // the platform or its cluster
)

// Rule is what follows from a reason.
type Rule struct {
	Status  Status // the terminal state that it leads to
	Cause   Cause
	Retry   bool // a new attempt may help
	Charged bool // the caller pays for what ran
}

// rules is the one table of reasons. Platform-caused ends are retried and never
// charged; everything else is final and is charged where the agent ran.
var rules = map[Reason]Rule{
	ReasonOK:              {StatusSucceeded, CauseNone, false, true},
	ReasonDeadline:        {StatusTimedOut, CauseAgent, false, true},
	ReasonCanceled:        {StatusCanceled, CauseCaller, false, true},
	ReasonBudgetExhausted: {StatusBudgetExhausted, CauseCaller, false, true},
	ReasonNotEntitled:     {StatusRejected, CauseCaller, false, false},
	ReasonPaymentRequired: {StatusRejected, CauseCaller, false, false},
	ReasonPlanInvalid:     {StatusRejected, CausePublisher, false, false},
	ReasonQueueTimeout:    {StatusExpired, CausePlatform, false, false},
	ReasonPolicyDenied:    {StatusRejected, CauseCaller, false, false},
	ReasonLimitReached:    {StatusRejected, CauseCaller, false, false},
	ReasonApprovalDenied:  {StatusRejected, CauseCaller, false, false},
	ReasonApprovalTimeout: {StatusExpired, CauseCaller, false, false},
	ReasonPlatformError:   {StatusFailed, CausePlatform, true, false},

	Reason(infra.ReasonAgentError):         {StatusFailed, CauseAgent, false, true},
	Reason(infra.ReasonAgentNoResult):      {StatusFailed, CauseAgent, false, true},
	Reason(infra.ReasonAgentInvalidResult): {StatusFailed, CauseAgent, false, true},
	Reason(infra.ReasonAgentOOM):           {StatusFailed, CauseAgent, false, true},
	Reason(infra.ReasonAgentDisk):          {StatusFailed, CauseAgent, false, true},
	Reason(infra.ReasonImageInvalid):       {StatusFailed, CausePublisher, false, false},
	Reason(infra.ReasonImagePull):          {StatusFailed, CausePublisher, false, false},
	Reason(infra.ReasonImageUnavailable):   {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonConfigError):        {StatusFailed, CausePublisher, false, false},
	Reason(infra.ReasonJobRefused):         {StatusFailed, CausePlatform, false, false},
	Reason(infra.ReasonQuotaExceeded):      {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonUnschedulable):      {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonEvicted):            {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonPreempted):          {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonNodeLost):           {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonPodGone):            {StatusFailed, CausePlatform, true, false},
	Reason(infra.ReasonSandboxError):       {StatusFailed, CausePlatform, true, false},
}

// nodeFaults are the reasons that the node of the attempt may be to blame for.
var nodeFaults = map[Reason]bool{
	Reason(infra.ReasonEvicted): true, Reason(infra.ReasonNodeLost): true, Reason(infra.ReasonSandboxError): true,
	Reason(infra.ReasonImageUnavailable): true,
}

// RuleOf returns what follows from a reason. A reason that the table does not
// know (a newer worker wrote it) counts as a platform fault without a retry.
func RuleOf(r Reason) Rule {
	if rule, ok := rules[r]; ok {
		return rule
	}
	return Rule{Status: StatusFailed, Cause: CausePlatform}
}
