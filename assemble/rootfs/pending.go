package rootfs

// Steps that wait for assemble/generate.
func (b *builder) certificates() error    { return nil }
func (b *builder) certificateSums() error { return nil }
func (b *builder) linkerCache() error     { return nil }
