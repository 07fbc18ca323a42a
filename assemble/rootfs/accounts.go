package rootfs

// identities reads the image's accounts.
func (b *builder) identities() (*identities, error) {
	passwd, _, err := b.readAt("etc/passwd")
	if err != nil {
		return nil, err
	}
	group, _, err := b.readAt("etc/group")
	if err != nil {
		return nil, err
	}
	return &identities{users: parseIDs(passwd), groups: parseIDs(group)}, nil
}
