package config

import "chainguard.dev/apko/pkg/build/types"

// The types of apko's keys, under their names there, so that others need not
// import apko.
type (
	// ImageConfiguration is what [Config] embeds.
	ImageConfiguration = types.ImageConfiguration
	// ImageContents is the value of contents.
	ImageContents = types.ImageContents
	// BaseImageDescriptor is the value of contents.baseimage.
	BaseImageDescriptor = types.BaseImageDescriptor
	// RuntimeKeyringEntry is an entry of contents.runtime_keyring.
	RuntimeKeyringEntry = types.RuntimeKeyringEntry
	// ImageEntrypoint is the value of entrypoint.
	ImageEntrypoint = types.ImageEntrypoint
	// ImageAccounts is the value of accounts.
	ImageAccounts = types.ImageAccounts
	// User is an entry of accounts.users.
	User = types.User
	// Group is an entry of accounts.groups.
	Group = types.Group
	// UID is a user's number; nil means not given.
	UID = types.UID
	// GID is a group's number; nil means not given.
	GID = types.GID
	// PathMutation is an entry of paths.
	PathMutation = types.PathMutation
	// Architecture is an entry of archs, by its OCI name ("arm/v7").
	Architecture = types.Architecture
	// Layering is the value of layering.
	Layering = types.Layering
	// ImageCertificates is the value of certificates.
	ImageCertificates = types.ImageCertificates
	// AdditionalCertificateEntry is an entry of certificates.additional.
	AdditionalCertificateEntry = types.AdditionalCertificateEntry
)

// ParseArch returns the architecture of a name, OCI's or apk's; false when
// there is none of that name.
func ParseArch(name string) (Arch, bool) {
	if detail, _ := archProblem(name); detail != "" || name == archAll {
		return Arch{}, false
	}
	return newArch(expandArchs([]types.Architecture{types.Architecture(name)})[0]), true
}

// OCI returns the architecture as apko's type, by its OCI name.
func (a Arch) OCI() Architecture { return types.ParseArchitecture(a.APK) }

// ParseArchitecture is apko's function of that name: it reads OCI's and apk's
// names and takes any other as it is.
func ParseArchitecture(name string) Architecture { return types.ParseArchitecture(name) }
