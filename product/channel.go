package product

import (
	"regexp"
	"time"

	"agentmarket/ids"
)

// Channel is a name that its publisher points at one version of an agent after
// another: whoever starts the channel gets the version that it points at.
type Channel struct {
	AgentID   ids.Agent
	Name      string
	VersionID ids.Version
	Version   string // number
	UpdatedAt time.Time
}

// ChannelName names a channel of an agent.
type ChannelName struct {
	Agent ids.Agent
	Name  string
}

// ChannelStable is the channel that buyers follow unless they choose another
// one. Until its publisher sets it, it is the newest release.
const ChannelStable = "stable"

// channelName begins with a letter, so that no number of a version is one.
var channelName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`)

// ValidChannel reports whether a channel may have this name: a DNS label of at
// most 40 characters that begins with a letter, but not "latest".
func ValidChannel(name string) bool { return name != Latest && channelName.MatchString(name) }
