package solve

// For the tests in package solve_test.
const ManyPackages = manyPackages

var (
	Testdata = testdata
	CPUPerOp = cpuPerOp
)
