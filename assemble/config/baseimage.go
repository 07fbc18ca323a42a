package config

// BaseImage returns contents.baseimage with its paths looked up from the working
// directory and then in the include paths, as apko does; nil when there is none.
// A path that does not exist is an *[Errors] with its position.
func (c *Config) BaseImage() (*BaseImageDescriptor, error) {
	base := c.Contents.BaseImage
	if base == nil {
		return nil, nil
	}
	found := *base
	for _, part := range []struct {
		key  string
		path *string
	}{{"image", &found.Image}, {"apkindex", &found.APKIndex}} {
		name, err := Find(*part.path, c.includePaths)
		if err != nil {
			p := c.baseProblem(part.key, "not readable", "found "+shorten(*part.path)+": "+pathCause(err).Error(), err)
			p.Hint = "looked from the working directory and in the include paths"
			return nil, c.baseErrors(p)
		}
		*part.path = name
	}
	return &found, nil
}

// BaseImageError gives an error about a part of the base image ("image" or
// "apkindex") the position of the key that names it.
func (c *Config) BaseImageError(part string, err error) error {
	return c.baseErrors(c.baseProblem(part, "not usable", err.Error(), err))
}

func (c *Config) baseProblem(part, problem, detail string, err error) Problem {
	w := whole{Config: c, report: &report{}}
	p := w.at(problem, detail, "", "contents", "baseimage", part)
	p.Err = err
	return p
}

func (c *Config) baseErrors(p Problem) error { return &Errors{Problems: []Problem{p}} }
