module greet-service

go 1.26
