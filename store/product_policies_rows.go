package store

import (
	"fmt"
	"slices"
	"time"

	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

type policyRow struct {
	OrgID     string `gorm:"primaryKey"`
	Kind      string `gorm:"primaryKey"`
	ID        string `gorm:"primaryKey"`
	Document  document[policyDocument]
	UpdatedBy string
	UpdatedAt stamp
}

func (policyRow) TableName() string { return "policies" }

// policyDocument is the stored shape of a policy, and that of the audit log. A list
// that is absent allows everything, an empty one nothing: omitzero keeps the
// difference.
type policyDocument struct {
	Agents           []string          `json:"agents,omitzero"`
	MaxResources     resourcesDocument `json:"max_resources,omitzero"`
	DefaultResources resourcesDocument `json:"default_resources,omitzero"`
	MaxRunNS         int64             `json:"max_run_ns,omitempty"`
	MaxQueueNS       int64             `json:"max_queue_ns,omitempty"`
	DefaultRunNS     int64             `json:"default_run_ns,omitempty"`
	DefaultQueueNS   int64             `json:"default_queue_ns,omitempty"`
	Tier             string            `json:"tier,omitempty"`
	Tools            []string          `json:"tools,omitzero"`
	Models           []string          `json:"models,omitzero"`
	Secrets          []string          `json:"secrets,omitzero"`
	SecretFiles      []string          `json:"secret_files,omitzero"`
	Egress           []string          `json:"egress,omitzero"`
	Modes            []product.Mode    `json:"modes,omitzero"`
	ApprovalAbove    amountDocument    `json:"approval_above,omitzero"`
	ApprovalAgents   []string          `json:"approval_agents,omitzero"`
	KeepInputNS      int64             `json:"keep_input_ns,omitempty"`
	KeepOutputNS     int64             `json:"keep_output_ns,omitempty"`
	KeepLogNS        int64             `json:"keep_log_ns,omitempty"`
	Warm             int               `json:"warm,omitempty"`
}

type resourcesDocument struct {
	CPUMillis int64 `json:"cpu_millis,omitempty"`
	MemoryMiB int64 `json:"memory_mib,omitempty"`
	DiskMiB   int64 `json:"disk_mib,omitempty"`
}

func rowFromPolicy(p product.Policy) policyRow {
	return policyRow{
		OrgID: string(p.Scope.OrgID), Kind: string(p.Scope.Kind), ID: p.Scope.ID,
		Document: documentOf(policyDocument{
			Agents:       slices.Clone(p.Agents),
			MaxResources: resourcesDocument(p.MaxResources), DefaultResources: resourcesDocument(p.DefaultResources),
			MaxRunNS: int64(p.MaxRun), MaxQueueNS: int64(p.MaxQueue),
			DefaultRunNS: int64(p.DefaultRun), DefaultQueueNS: int64(p.DefaultQueue),
			Tier: string(p.Tier), Tools: slices.Clone(p.Tools), Models: slices.Clone(p.Models), Secrets: slices.Clone(p.Secrets), SecretFiles: slices.Clone(p.SecretFiles), Egress: slices.Clone(p.Egress),
			Modes: slices.Clone(p.Modes), ApprovalAbove: amountDocument(p.ApprovalAbove), ApprovalAgents: slices.Clone(p.ApprovalAgents),
			KeepInputNS: int64(p.KeepInput), KeepOutputNS: int64(p.KeepOutput), KeepLogNS: int64(p.KeepLog), Warm: p.Warm,
		}),
		UpdatedBy: printable(p.UpdatedBy), UpdatedAt: at(p.UpdatedAt),
	}
}

func policyFromRow(r policyRow) (product.Policy, error) {
	if r.Document.value == nil {
		return product.Policy{}, fmt.Errorf("load %s: the document is missing", r.subject())
	}
	d := *r.Document.value
	return product.Policy{
		Scope:        product.PolicyScope{Kind: product.ScopeKind(r.Kind), OrgID: ids.Org(r.OrgID), ID: r.ID},
		Agents:       d.Agents,
		MaxResources: product.Resources(d.MaxResources), DefaultResources: product.Resources(d.DefaultResources),
		MaxRun: time.Duration(d.MaxRunNS), MaxQueue: time.Duration(d.MaxQueueNS),
		DefaultRun: time.Duration(d.DefaultRunNS), DefaultQueue: time.Duration(d.DefaultQueueNS),
		Tier: product.Tier(d.Tier), Tools: d.Tools, Models: d.Models, Secrets: d.Secrets, SecretFiles: d.SecretFiles, Egress: d.Egress,
		Modes: d.Modes, ApprovalAbove: money.Amount(d.ApprovalAbove), ApprovalAgents: d.ApprovalAgents,
		KeepInput: time.Duration(d.KeepInputNS), KeepOutput: time.Duration(d.KeepOutputNS), KeepLog: time.Duration(d.KeepLogNS), Warm: d.Warm,
		UpdatedBy: r.UpdatedBy, UpdatedAt: r.UpdatedAt.t,
	}, nil
}

func policiesFromRows(rows []policyRow) ([]product.Policy, error) {
	policies := make([]product.Policy, len(rows))
	for i, row := range rows {
		var err error
		if policies[i], err = policyFromRow(row); err != nil {
			return nil, err
		}
	}
	return policies, nil
}

// subject names a policy in the audit log.
func (r policyRow) subject() string {
	if r.ID == "" {
		return "policy:" + r.Kind
	}
	return "policy:" + r.Kind + ":" + r.ID
}
