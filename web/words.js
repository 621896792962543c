// Words of the page in both languages; the terms are the glossary's. The wire carries codes, never words.
export const WORDS = {
  zh: {
    active_alarms: "当前报警", severity: "等级", age: "时长", site: "单位", point: "测点", rule: "规则", peak: "峰值", why: "原因",
    acknowledge: "确认", acked: "已确认", unacked: "未确认", shelved: "搁置至", sites: "联网单位", alarms: "报警数", people_below: "井下人数", as_of: "截至",
    last_value: "最新数据", points: "测点实时值", find: "查找", name: "地点", quantity: "类型", value: "监测值", quality: "状态",
    none: "无报警，截至 ", link: "连接正常", lost: "连接中断，自 ", lost_rest: " 起数据不再更新", shown: "显示 ", of: " / 共 ",
    trend: "最近一小时", uncertain: "不确定", language: "EN", red: "红", orange: "橙", yellow: "黄", blue: "蓝", below: "井下 ",
    token: "访问令牌", sign_on: "登录", refused: "未确认：", normal: "正常", never: "无数据", drill: "演练", calibrating: "标校",
    late: "补传", unconfirmed: "煤矿上报，未核实", away: "期间报警有变化，已重新读取",
    q_alarm: "报警", q_cut: "断电", q_calibration: "标校", q_over_range: "超量程", q_station_fault: "分站故障",
    q_not_inspected: "不巡检", q_paused: "暂停", q_sensor_fault: "传感器故障", q_stale: "陈旧", q_future: "时钟超前",
    q_historical: "补传", q_simulated: "演练", q_missing: "缺测", q_no_device_time: "无设备时间",
  },
  en: {
    active_alarms: "Active alarms", severity: "level", age: "age", site: "site", point: "point", rule: "rule", peak: "peak", why: "why",
    acknowledge: "Acknowledge", acked: "acknowledged", unacked: "unacknowledged", shelved: "shelved until", sites: "Sites", alarms: "alarms", people_below: "people below", as_of: "as of",
    last_value: "newest data", points: "Points, live", find: "Find", name: "place", quantity: "quantity", value: "value", quality: "status",
    none: "No active alarm as of ", link: "link ok", lost: "Link lost since ", lost_rest: ": nothing below is live", shown: "showing ", of: " of ",
    trend: "last hour", uncertain: "uncertain", language: "中文", red: "red", orange: "orange", yellow: "yellow", blue: "blue", below: "below ground ",
    token: "Token", sign_on: "Sign on", refused: "Not acknowledged: ", normal: "normal", never: "no data", drill: "drill", calibrating: "calibrating",
    late: "late", unconfirmed: "reported by the mine, unconfirmed", away: "alarms changed meanwhile; read again",
    q_alarm: "alarm", q_cut: "cut", q_calibration: "calibration", q_over_range: "over range", q_station_fault: "station fault",
    q_not_inspected: "not inspected", q_paused: "paused", q_sensor_fault: "sensor fault", q_stale: "stale", q_future: "clock ahead",
    q_historical: "back-fill", q_simulated: "drill", q_missing: "missing", q_no_device_time: "no device time",
  },
};
