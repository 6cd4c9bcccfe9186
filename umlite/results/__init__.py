"""What is made from masks: label maps, and later statistics, reports and checks."""
