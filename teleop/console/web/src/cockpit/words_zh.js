// Chinese of the cockpit's own words; the rest stands in lib/zh.js.
export const WORDS_ZH = {
  Cockpit: "总控台", Console: "控制台", "Most urgent first": "最紧急者在前", "By name": "按名称", "Order of the sites": "站点排序", "All sites": "所有站点",
  Site: "站点", State: "状态", "Early warning": "预警", "Line: age, last two minutes": "线路：延龄，最近两分钟", "Round trip and loss": "往返时延与丢包", Case: "病例", "In use": "使用率", Holds: "保持次数", "Accuracy reached": "达到的精度",
  "No hospital is connected.": "没有连接医院。", "No answer from the console's server": "控制台服务器无应答", "The console's server answers": "控制台服务器回答", "Sign in with the address that the server printed": "请用服务器给出的地址登录",
  simulated: "模拟", "in hand": "在控", "no fresh data": "无新数据", "never heard": "从未收到", calm: "平稳", down: "中断", rising: "上升", falling: "下降", steady: "稳定", Placed: "已置入",
  "hold likely within {s} s": "{s} 秒内可能保持", "for {s} s": "已 {s} 秒", "{n} warnings so far": "至今 {n} 次预警", "{n} sites · {busy} at work · {held} held · {warned} warned · {silent} silent": "{n} 个站点 · {busy} 个工作中 · {held} 个保持 · {warned} 个预警 · {silent} 个无声",
};
