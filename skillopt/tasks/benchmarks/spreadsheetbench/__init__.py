"""SpreadsheetBench: a request to change a workbook; its cells are compared (Ma et al. 2024).

Nothing is imported here: processes that only read a workbook import this package too.
"""
